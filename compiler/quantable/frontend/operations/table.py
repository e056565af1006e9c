"""The operations that the frontend imports: one table, name -> facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx

from quantable.frontend.operations.constants import constant_reason
from quantable.frontend.operations.normalization import batch_normalization_reason

Reason = Callable[[onnx.NodeProto], str | None]


@dataclass(frozen=True, slots=True)
class OperationFacts:
    """What the frontend knows of an operation type.

    Attributes:
        family: What kind of operation it is.
        reason: Returns why a certain node cannot be imported, None where it can.
        legacy: The type is gone at the canonical opset; the upgrade replaces it.
    """

    family: str
    reason: Reason | None = None
    legacy: bool = False


_QUANTIZED = "the model is quantized already; give the float model"
_FAMILIES: dict[str, str] = {
    "elementwise": """
        Abs Acos Acosh Add And Asin Asinh Atan Atanh Cast Ceil Celu Clip Cos Cosh Div Elu Equal
        Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish IsInf IsNaN LeakyRelu Less
        LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu
        Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Tan Tanh ThresholdedRelu Where Xor
    """,
    "identity": "Dropout Identity",
    "window": "AveragePool Conv ConvTranspose GlobalAveragePool GlobalMaxPool MaxPool",
    "matrix": "Gemm MatMul",
    "normalization": """
        InstanceNormalization GroupNormalization LayerNormalization LogSoftmax
        LpNormalization LRN Softmax
    """,
    "reduction": """
        ArgMax ArgMin ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean
        ReduceMin ReduceProd ReduceSum ReduceSumSquare
    """,
    "movement": """
        Concat DepthToSpace Expand Flatten Gather GatherElements GatherND Pad Reshape Resize Slice
        SpaceToDepth Split Squeeze Tile Transpose Trilu Unsqueeze
    """,
    "shape": "ConstantOfShape Range Shape Size",
    "quantization": "DequantizeLinear",
}

OPERATIONS: dict[str, OperationFacts] = {
    **{
        name: OperationFacts(family)
        for family, names in _FAMILIES.items()
        for name in names.split()
    },
    "BatchNormalization": OperationFacts("normalization", batch_normalization_reason),
    "Constant": OperationFacts("constant", constant_reason),
    "QuantizeLinear": OperationFacts("quantization", lambda _: _QUANTIZED),
    "Upsample": OperationFacts("movement", legacy=True),
}
"""Operation types of ai.onnx that the frontend imports."""
