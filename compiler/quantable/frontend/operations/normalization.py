"""Normalizations: only their inference form is imported."""

from __future__ import annotations

import onnx


def batch_normalization_reason(node: onnx.NodeProto) -> str | None:
    """Return why a BatchNormalization cannot be imported, or None."""
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    if attributes.get("training_mode", 0):
        return "is in training mode; export the model for inference"
    if attributes.get("spatial", 1) != 1:
        return "normalizes every position by itself (spatial=0); only channels are supported"
    if any(node.output[1:]):
        return "gives training statistics; export the model for inference"
    return None
