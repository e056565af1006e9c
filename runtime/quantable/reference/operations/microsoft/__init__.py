"""Operations of the domain com.microsoft, which ONNX Runtime adds to the standard.

Sources: the schemas of ONNX Runtime say what each computes; where they are silent, its kernels for
processors do, with which the tests compare every operation here.
"""
