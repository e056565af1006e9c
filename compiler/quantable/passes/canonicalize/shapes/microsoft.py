"""Shapes of the operations of com.microsoft on real numbers."""

from __future__ import annotations

from quantable.passes.canonicalize.shapes import elementwise
from quantable.passes.canonicalize.shapes.site import ShapeFunction

FUNCTIONS: dict[str, ShapeFunction] = {
    f"com.microsoft.{kind}": function
    for kind, function in {
        "Gelu": elementwise.same,
    }.items()
}
"""Shape functions by operation kind."""
