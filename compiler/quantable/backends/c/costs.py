"""What a product costs in the portable kernels: the backend's own table for searches.

Measured by ``python -m quantable.bench.kernel_costs`` (gcc 12 -O2, x86-64, no vector flags), in
hundredths of a product of an 8-bit Conv; other compilers and processors give other numbers. 4-bit
values are unpacked when code is emitted, and cost what 8-bit ones do. Inputs of 16 bits cost about
the same in convolutions and half as much in Linear, where the compiler finds a vector instruction
for them: width hardly decides the latency of portable C, kind does.
"""

from __future__ import annotations

DEPTHWISE = "depthwise Conv"
"""A Conv with one input and one output channel a group; it has a kernel of its own."""

PRODUCT_COSTS: dict[tuple[str, int], int] = {
    ("Conv", 8): 100, ("Conv", 16): 107,
    (DEPTHWISE, 8): 145, (DEPTHWISE, 16): 136,
    ("ConvTranspose", 8): 219, ("ConvTranspose", 16): 175,
    ("quantable.Linear", 8): 27, ("quantable.Linear", 16): 14,
    ("MatMul", 8): 44, ("MatMul", 16): 45,
}  # fmt: skip
"""By kind, and by bits of the type that input 0 is stored in."""


def product_cost(kind: str, bits: int) -> int:
    """Return what a product costs whose input 0 has so many bits."""
    return PRODUCT_COSTS[kind, 8 if bits <= 8 else 16]
