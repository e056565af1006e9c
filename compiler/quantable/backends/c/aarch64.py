"""The table of what AArch64 has kernels of its own for; all else runs in portable C."""

from __future__ import annotations

import numpy as np

from quantable.backends.c.gemm import Gemm
from quantable.backends.c.packing import Layout
from quantable.backends.c.unit import Step
from quantable.backends.c.vector_emitters import vector_emitters
from quantable.backends.c.vectors import VectorKernels

PIXELS = {1: 12, 2: 10, 3: 7, 4: 6}
"""Output pixels that a tile holds at most, by the number of vectors each (32 registers)."""
_SIGNED = -128
"""Added to inputs where instructions multiply numbers of one sign only."""


def _instructions(pixels: int, vectors: int) -> float:
    """Return the instructions of 16 products of a tile, with the dot product."""
    products, values, weights, loop = 4 * pixels * vectors, 2 * pixels, 2 * vectors, 4
    return products + values + weights + loop


def _product_facts(gemm: Gemm, _vectors: int) -> dict[str, int]:
    """Return whether two products fit 16 bits."""
    return {"SMALL": int(gemm.weight.min(initial=0) > np.iinfo(np.int8).min)}


def _output_facts(step: Step) -> dict[str, int]:
    """Return whether there is a zero point but 0, and a clamp but that of the type."""
    y, op = step.output().dtype, step.operation
    clamp = (op.int_attribute("clamp_min"), op.int_attribute("clamp_max"))
    is_clamped = clamp != (y.minimum, y.maximum)
    return {"SHIFTED": int(op.int_attribute("y_zero_point") != 0), "CLAMPED": int(is_clamped)}


KERNELS = VectorKernels(
    "q_neon_", Layout(4, 8, PIXELS, _instructions, False, True), 64, 4,
    is_saturating=True, bias_shifts=(0, _SIGNED), product_facts=_product_facts,
    output_facts=_output_facts,
)  # fmt: skip
EMITTERS = vector_emitters(KERNELS)
"""By kind: emits the operation, or returns that no kernel suits it, having added nothing."""
