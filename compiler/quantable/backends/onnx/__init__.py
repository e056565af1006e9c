"""ONNX files: float graphs as they are, quantable ones with QuantizeLinear/DequantizeLinear."""

from quantable.backends.onnx.emit import emit

__all__ = ["emit"]
