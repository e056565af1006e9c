"""Operations of the domain com.microsoft, which ONNX Runtime adds to the standard.

Sources: the schemas of ONNX Runtime say what each computes; where they are silent, its kernels for
processors do, with which the tests compare every operation here.
"""

from __future__ import annotations

from quantable.reference.operations.microsoft import (
    activations,
    attention,
    fused,
    grouped_attention,
    movement,
    normalization,
    products,
    quantized,
)
from quantable.reference.site import Builder

MICROSOFT_OPERATIONS: dict[str, Builder] = {
    kind: builder
    for family in (
        activations, attention, fused, grouped_attention, movement, normalization, products,
        quantized,
    )
    for kind, builder in family.TABLE.items()
}  # fmt: skip
"""Every operation of the domain by kind."""
