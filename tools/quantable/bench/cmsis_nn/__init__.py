"""CMSIS-NN beside our kernels: the same layers, on the same emulated core."""
