"""The sets of kernels that C can be made of: one table, read by targets, planning and emission."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class KernelSet:
    """One row of the table; what a set has no kernel for runs in portable C.

    Attributes:
        name: The folder of its headers in `quantable.kernels`.
        summary: For people.
        alignment: Of tensors in the arena, in bytes.
        has_borders: Whether its convolutions look for borders; else they are given padded inputs.
        has_threads: Whether its code can be built for several threads.
        has_long_strings: Whether its compilers take string literals of any length: weights are
            read twenty times faster from them.
        flags: Options of the compiler that choose between its forms, each to be tested; the last
            one is what generated build files use.
        is_ordered: Whether its convolutions, linear layers and pools make pixels in ascending
            order, on one thread, each pixel's window read before the next pixel is written; and
            some rows at a time where they are told to. Plans may then overlap outputs and inputs.
        tile_pixels: Pixels that its convolutions compute at once.
    """

    name: str
    summary: str
    alignment: int
    has_borders: bool
    has_threads: bool
    has_long_strings: bool
    flags: tuple[str, ...]
    is_ordered: bool = False
    tile_pixels: int = 1


PORTABLE = KernelSet(
    "portable", "C11 for every machine with IEEE floats and 8-bit bytes", 16, True, True, False,
    ("",), is_ordered=True,
)  # fmt: skip
X86 = KernelSet(
    "x86", "x86-64 with AVX512-VNNI, AVX-VNNI or AVX2, whichever the compiler may use", 64, False,
    True, True, ("", "-march=native"),
)  # fmt: skip
AARCH64 = KernelSet(
    "aarch64", "AArch64 with i8mm, the dot product or Neon, whichever the compiler may use", 64,
    False, True, True, ("", "-march=armv8.2-a+dotprod"),
)  # fmt: skip
ARMV7EM = KernelSet(
    "armv7em", "Arm Cortex-M4 and M7 with the DSP extension", 16, True, False, False, ("",),
    is_ordered=True, tile_pixels=3,
)  # fmt: skip
ARMV81M = KernelSet(
    "armv81m", "Arm Cortex-M55 and M85 with Helium and its floats", 16, True, False, False, ("",),
    is_ordered=True, tile_pixels=3,
)  # fmt: skip
RV32 = KernelSet(
    "rv32", "RISC-V without vectors, with or without floats (rv32imac, rv32imafc)", 16, True,
    False, False, ("",),
)  # fmt: skip
RVV = KernelSet(
    "rvv", "RISC-V with vectors of any length (rv64gcv, rv32 with Zve32x)", 16, True, True, True,
    ("",),
)  # fmt: skip
KERNEL_SETS: Mapping[str, KernelSet] = MappingProxyType({
    row.name: row for row in (PORTABLE, X86, AARCH64, ARMV7EM, ARMV81M, RV32, RVV)
})  # fmt: skip
"""Every set by name."""
