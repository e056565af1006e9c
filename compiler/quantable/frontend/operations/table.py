"""Which operations the frontend takes: the table of the standard, and what single nodes may not."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx

from quantable.frontend.domains import is_standard, kind_of
from quantable.frontend.operations.constants import constant_reason
from quantable.frontend.operations.normalization import batch_normalization_reason
from quantable.ir import OperationLibrary
from quantable.ir.standard_operations import known_operations

Reason = Callable[[onnx.NodeProto], str | None]

REASONS: dict[str, Reason] = {
    "BatchNormalization": batch_normalization_reason,
    "Constant": constant_reason,
}
"""By kind, what returns why a certain node cannot be imported, None where it can."""


def user_reason(
    node: onnx.NodeProto, versions: Mapping[str, int], library: OperationLibrary
) -> str | None:
    """Return why a node of a user's domain cannot be imported, or None.

    Args:
        node: The node.
        versions: By domain, the version that the model imports.
        library: The user operations at hand.
    """
    held = library.get(kind_of(node))
    if held is None:
        return f"operations of domain '{node.domain}' are not supported"
    found, definition = versions.get(node.domain, 1), held.definition
    if found not in definition.versions:
        known = ", ".join(map(str, definition.versions))
        return f"version {found} of its domain: {held.package} {held.version} has {known}"
    least = sum(not name.endswith("?") for name in definition.inputs)
    if not least <= len(node.input) <= len(definition.inputs):
        return f"expected inputs {', '.join(definition.inputs)}, found {len(node.input)}"
    given = {item.name for item in node.attribute}
    missing = [n for n, value in definition.attributes.items() if value is None and n not in given]
    unknown = sorted(given - {*definition.attributes})
    if missing or unknown:
        return f"attributes missing: {missing}, unknown: {unknown}"
    return None


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
