"""The table of all float operations: kind -> builder."""

from __future__ import annotations

from quantable.reference.operations import (
    attention,
    bits,
    containers,
    control,
    convolution,
    elementwise,
    linear,
    logic,
    losses,
    movement,
    ngrams,
    normalization,
    pooling,
    quantization,
    quantized,
    recurrent,
    reductions,
    regions,
    resize,
    sampling,
    scattering,
    selection,
    shapes,
    signal,
    unfolding,
)
from quantable.reference.operations.microsoft import MICROSOFT_OPERATIONS
from quantable.reference.site import Builder

FLOAT_OPERATIONS: dict[str, Builder] = {
    kind: builder
    for family in (
        attention, bits, containers, control, convolution, elementwise, linear, logic, losses,
        movement, ngrams, normalization, pooling, quantization, quantized, recurrent, reductions,
        regions, resize, sampling, scattering, selection, shapes, signal, unfolding,
    )
    for kind, builder in family.TABLE.items()
} | MICROSOFT_OPERATIONS  # fmt: skip
"""Every float operation by kind."""
