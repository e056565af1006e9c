"""Constants that stand for symbolic shapes."""

from __future__ import annotations

from quantable.ir.graph import Dim, Shape


def reshape_target(before: Shape, after: Shape) -> list[int] | None:
    """Return what a Reshape takes to give a shape: 0 copies a dimension, -1 takes the rest.

    With one symbol it is -1; with more, those that stay on their axis are 0.

    Returns:
        None where the shape cannot be expressed: two symbols that move, or a dimension of size 0.
    """
    symbolic = [axis for axis, dim in enumerate(after) if isinstance(dim, str)]
    copied: set[int] = set()
    if len(symbolic) > 1:
        copied = {a for a in symbolic if a < len(before) and before[a] == after[a]}
    if 0 in after or len(symbolic) - len(copied) > 1:
        return None
    return [_entry(dim, axis in copied) for axis, dim in enumerate(after)]


def _entry(dim: Dim, is_copied: bool) -> int:
    if isinstance(dim, int):
        return dim
    return 0 if is_copied else -1
