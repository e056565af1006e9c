"""ONNX in: the only part of the compiler, besides the ONNX backend, that imports onnx."""

from __future__ import annotations

from quantable.frontend.importer import import_model

__all__ = ["import_model"]
