"""The table of what x86-64 has kernels of its own for; all else runs in portable C."""

from __future__ import annotations

from quantable.backends.c import x86_movement, x86_sequences
from quantable.backends.c.packing import Layout
from quantable.backends.c.vector_emitters import vector_emitters
from quantable.backends.c.vectors import VectorKernels
from quantable.backends.c.winograd import winograd_facts

PIXELS = {1: 14, 2: 14, 3: 9, 4: 6}
"""Output pixels that a tile holds at most, by the number of vectors each (32 registers)."""
_LATENCY = 5
"""Cycles before the next product can be added to an accumulator."""
_LOOP = 0.5
"""Cycles of a step that are not products: large tiles have fewer steps."""
_STREAM = 2.4
"""Cycles that a vector of weights takes from the second cache."""
_VALUES = 0.06
"""Cycles of a step for each pixel: less where more vectors share its value."""


def _cycles(pixels: int, vectors: int) -> float:
    """Return about the cycles of one quad of a tile: two products, or two loads, each."""
    products = max(pixels * vectors / 2, (pixels + vectors) / 2, _LATENCY, _STREAM * vectors)
    return products + _LOOP + _VALUES * pixels


KERNELS = VectorKernels(
    "q_", Layout(16, 4, PIXELS, _cycles, True), 64, 4,
    product_facts=winograd_facts, joins=1024, joins_pixels=True,
)  # fmt: skip
EMITTERS = {
    **vector_emitters(KERNELS),
    "Transpose": x86_movement.emit_transpose,
    "int.LayerNormalization": x86_sequences.emit_layer_normalization,
    "int.Mul": x86_sequences.emit_mul,
    "int.Softmax": x86_sequences.emit_softmax,
    "int.Table": x86_sequences.emit_table,
}
"""By kind: emits the operation, or returns that no kernel suits it, having added nothing."""
