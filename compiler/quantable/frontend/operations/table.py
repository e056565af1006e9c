"""Which operations the frontend takes: the table of the standard, and what single nodes may not."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from quantable.frontend.domains import is_standard, kind_of
from quantable.frontend.operations.constants import constant_reason
from quantable.frontend.operations.normalization import batch_normalization_reason
from quantable.ir.standard_operations import known_operations

Reason = Callable[[onnx.NodeProto], str | None]

REASONS: dict[str, Reason] = {
    "BatchNormalization": batch_normalization_reason,
    "Constant": constant_reason,
}
"""By kind, what returns why a certain node cannot be imported, None where it can."""


def reason_of(node: onnx.NodeProto) -> str | None:
    """Return why a node of a known domain cannot be imported, or None."""
    kind = kind_of(node)
    row = known_operations().get(kind)
    if row is None:
        return "this operation is not known"
    if row.left_out:
        return f"this operation is left out: it {row.left_out}"
    if not is_standard(node):  # the checker of onnx knows no attributes of other domains
        unknown = sorted({item.name for item in node.attribute} - set(row.attributes))
        if unknown:
            return f"attribute '{unknown[0]}' is not known"
    return REASONS[kind](node) if kind in REASONS else None
