"""Small floating formats: the numbers that they hold, and their bit patterns.

The rules are those of the OCP formats: E5M2 keeps IEEE 754's infinities, E4M3 gives up one pattern
for NaN, all smaller ones have finite numbers only, and E8M0 holds powers of two without a sign (OCP
8-bit Floating Point Specification 1.0; Microscaling Formats Specification 1.0). The formats FNUZ
have no infinities, and NaN in the place of the negative zero (Noune et al., arXiv:2206.02915).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from quantable.ir.dtypes import DType

Codes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

FLOAT_TYPES: dict[tuple[int, int], DType] = {
    (8, 4): DType.FLOAT8E4M3FN, (8, 5): DType.FLOAT8E5M2, (4, 2): DType.FLOAT4E2M1,
}  # fmt: skip
"""Element types by (bits, exponent bits); their elements are held as bit patterns, uint8."""

_FORMATS: dict[DType, tuple[int, int]] = {
    DType.FLOAT8E4M3FN: (4, 7), DType.FLOAT8E4M3FNUZ: (4, 8), DType.FLOAT8E5M2: (5, 15),
    DType.FLOAT8E5M2FNUZ: (5, 16), DType.FLOAT4E2M1: (2, 1),
}  # fmt: skip
"""Exponent bits and bias."""


def largest_float(exponent_bits: int, mantissa_bits: int) -> float:
    """Return the largest finite number of a format."""
    bias = (1 << (exponent_bits - 1)) - 1
    top, mantissa = (1 << exponent_bits) - 1 - bias, (1 << mantissa_bits) - 1
    if (exponent_bits, mantissa_bits) == (5, 2):
        top -= 1
    elif (exponent_bits, mantissa_bits) == (4, 3):
        mantissa -= 1
    return float(np.ldexp(1.0 + mantissa / (1 << mantissa_bits), top))


def is_small_float(dtype: DType) -> bool:
    """Whether the elements of a type are bit patterns of one of these formats."""
    return dtype.is_small_float


def nearest(
    x: Floats, exponent_bits: int, mantissa_bits: int, rounding: Callable[[Floats], Floats]
) -> Floats:
    """Round to numbers of a format, saturating; zero is positive.

    Args:
        x: float32.
        exponent_bits, mantissa_bits: The format.
        rounding: Rounds to integers.
    """
    bias = (1 << (exponent_bits - 1)) - 1
    limit = np.float32(largest_float(exponent_bits, mantissa_bits))
    real = np.clip(x, -limit, limit)
    exponent = np.frexp(real)[1] - 1  # |real| lies in [2**e, 2**(e + 1))
    place = np.maximum(exponent, 1 - bias) - mantissa_bits
    step = np.ldexp(np.float32(1), place).astype(np.float32)
    found = rounding(real / step) * step
    return np.asarray(np.clip(found, -limit, limit) + np.float32(0), np.float32)


@functools.cache
def numbers(dtype: DType) -> Floats:
    """Return the number that each bit pattern of a type stands for, float32 [2**bits]."""
    if dtype is DType.FLOAT8E8M0:
        table = np.append(np.ldexp(1.0, np.arange(255) - 127), np.nan).astype(np.float32)
    else:
        positive = _positive(dtype)
        table = np.concatenate([positive, -positive])
        if dtype in (DType.FLOAT8E4M3FNUZ, DType.FLOAT8E5M2FNUZ):
            table[positive.size] = np.nan
    table.setflags(write=False)
    return np.asarray(table, np.float32)


def _positive(dtype: DType) -> Floats:
    exponent_bits, bias = _FORMATS[dtype]
    mantissa_bits = dtype.bits - exponent_bits - 1
    magnitude = np.arange(1 << (dtype.bits - 1))
    exponent, mantissa = magnitude >> mantissa_bits, magnitude & ((1 << mantissa_bits) - 1)
    fraction = mantissa / (1 << mantissa_bits) + (exponent > 0)
    positive = np.ldexp(fraction, np.maximum(exponent, 1) - bias).astype(np.float32)
    if dtype is DType.FLOAT8E5M2:
        positive[-4:] = [np.inf, np.nan, np.nan, np.nan]
    elif dtype is DType.FLOAT8E4M3FN:
        positive[-1] = np.nan
    return np.asarray(positive, np.float32)


def has_sign(dtype: DType) -> bool:
    """Whether the upper half of the bit patterns are the negative numbers."""
    return dtype is not DType.FLOAT8E8M0


def decode(codes: npt.NDArray[np.generic], dtype: DType) -> Floats:
    """Return the numbers that bit patterns stand for."""
    return np.asarray(numbers(dtype)[codes.astype(np.intp)], np.float32)


def encode(x: npt.NDArray[np.floating], dtype: DType) -> Codes:
    """Return the bit patterns of the nearest finite numbers, ties to the even pattern.

    Raises:
        ValueError: A number is NaN.
    """
    if np.isnan(x).any():
        raise ValueError(f"expected numbers, found NaN, which '{dtype.value}' is not given")
    half = numbers(dtype).size // (2 if has_sign(dtype) else 1)
    positive = numbers(dtype)[:half]
    grid = positive[np.isfinite(positive)].astype(np.float64)
    size = np.abs(x.astype(np.float64))
    above = np.clip(np.searchsorted(grid, size), 1, grid.size - 1)
    low, high = grid[above - 1], grid[above]
    up = (size - low > high - size) | ((size - low == high - size) & (above % 2 == 0))
    codes = np.where(up, above, above - 1)
    if has_sign(dtype):
        codes = codes + np.signbit(x) * half
        codes = np.where(np.isnan(numbers(dtype)[codes]), 0, codes)  # a negative zero of FNUZ
    return np.asarray(codes, np.uint8)
