"""Which operations the frontend takes: the table of the standard, and what single nodes may not."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from quantable.frontend.operations.constants import constant_reason
from quantable.frontend.operations.normalization import batch_normalization_reason
from quantable.ir.standard_operations import standard_operations

Reason = Callable[[onnx.NodeProto], str | None]

REASONS: dict[str, Reason] = {
    "BatchNormalization": batch_normalization_reason,
    "Constant": constant_reason,
}
"""By kind, what returns why a certain node cannot be imported, None where it can."""


def reason_of(node: onnx.NodeProto) -> str | None:
    """Return why a node of ai.onnx cannot be imported, or None."""
    row = standard_operations().get(node.op_type)
    if row is None:
        return "this operation is not known"
    if row.left_out:
        return f"this operation is left out: it {row.left_out}"
    return REASONS[node.op_type](node) if node.op_type in REASONS else None
