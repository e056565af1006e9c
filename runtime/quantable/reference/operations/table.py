"""The table of all float operations: kind -> builder."""

from __future__ import annotations

from quantable.reference.operations import (
    convolution,
    elementwise,
    linear,
    logic,
    movement,
    normalization,
    pooling,
    quantization,
    reductions,
    resize,
    shapes,
)
from quantable.reference.site import Builder

FLOAT_OPERATIONS: dict[str, Builder] = {
    **convolution.TABLE, **elementwise.TABLE, **linear.TABLE, **logic.TABLE, **movement.TABLE,
    **normalization.TABLE, **pooling.TABLE, **quantization.TABLE, **reductions.TABLE,
    **resize.TABLE, **shapes.TABLE,
}  # fmt: skip
"""Every float operation by kind."""
