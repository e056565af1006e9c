"""Conversions between element types: integers wrap, small floats round to even.

torch has no arithmetic on floats of 8 bits and less, and no types of 2 and 4 bits: those of 8 bits
are tensors of torch's types, those of 4 bits are bit patterns, integers of 2 and 4 bits are held in
bytes (`tensors.TORCH_TYPES`). So the element types of the IR, and not torch's, say what is meant.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from quantable.ir import DType
from quantable.ir.floats import numbers
from quantable.reference.tensors import TORCH_TYPES

_NO_INFINITY = frozenset({DType.FLOAT4E2M1})
"""Types with finite numbers only: all that is larger becomes the largest."""


def numbers_of(x: Tensor, dtype: DType | None) -> Tensor:
    """Return elements as a type with which torch computes; small floats as float32."""
    if dtype is None or not dtype.is_small_float:
        return x.to(torch.float32) if x.is_floating_point() and x.itemsize == 1 else x
    return _table(dtype)[_codes(x).to(torch.int64)]


def converted(
    x: Tensor, source: DType | None, to: DType, saturate: bool = True, rounding: str = "up"
) -> Tensor:
    """Return elements as another type.

    Args:
        x: The elements.
        source: Their type; None for what torch says.
        to: The type that is made.
        saturate: Whether numbers beyond a float of 8 bits become its largest one; else they become
            infinite, or NaN where the type has no infinity.
        rounding: "up", "down" or "nearest": how numbers become powers of two (FLOAT8E8M0).
    """
    real = numbers_of(x, source)
    if to is DType.FLOAT8E8M0:
        return _patterns(_power_codes(real, saturate, rounding), to)
    if to.is_small_float:
        return _patterns(_float_codes(real, to, saturate), to)
    made = TORCH_TYPES[to]
    if not to.is_packed:
        return real if real.dtype is made else real.to(made)
    # What does not fit loses its upper bits, as between wider integers.
    steps = real.to(torch.int64) & ((1 << to.bits) - 1)
    sign = 1 << (to.bits - 1)
    return ((steps ^ sign) - sign if to.is_signed else steps).to(made)


@functools.cache
def _table(dtype: DType) -> Tensor:
    return torch.from_numpy(numbers(dtype).copy())


def _codes(x: Tensor) -> Tensor:
    return x if x.dtype is torch.uint8 else x.view(torch.uint8)


def _patterns(codes: Tensor, dtype: DType) -> Tensor:
    made = TORCH_TYPES[dtype]
    return codes if made is torch.uint8 else codes.view(made)


@functools.cache
def _grid(dtype: DType) -> tuple[Tensor, int]:
    """Return the finite numbers from zero up, one more step, and the pattern of NaN (-1: none)."""
    half = numbers(dtype)[: numbers(dtype).size // 2]
    finite = half[np.isfinite(half)].astype(np.float64)
    step = finite[-1] - finite[-2]
    grid = torch.from_numpy(np.append(finite, finite[-1] + step))
    missing = np.flatnonzero(np.isnan(numbers(dtype)))
    code = int(missing[0]) if missing.size else -1
    return grid, 0x7F if dtype is DType.FLOAT8E5M2 else code


def _float_codes(real: Tensor, dtype: DType, saturate: bool) -> Tensor:
    """Return the bit patterns of the nearest numbers, ties to the even pattern."""
    grid, nan = _grid(dtype)
    largest = grid.numel() - 2
    wide = real.to(torch.float64)
    size = wide.abs()
    above = torch.searchsorted(grid, size.contiguous()).clamp(1, grid.numel() - 1)
    low, high = grid[above - 1], grid[above]
    nearer = (size - low > high - size) | ((size - low == high - size) & (above % 2 == 0))
    code = torch.where(nearer, above, above - 1)
    beyond = (code > largest) | torch.isinf(size)
    over = torch.tensor(largest)
    if not saturate and dtype not in _NO_INFINITY:
        over = torch.tensor(0x7C if dtype is DType.FLOAT8E5M2 else nan)
    code = torch.where(beyond, over, code)
    half = 1 << (dtype.bits - 1)
    # What has no NaN makes a negative zero of it, as the standard's tests want it.
    lost = torch.tensor(nan if nan >= 0 else half)
    code = torch.where(torch.isnan(wide), lost, code)
    if nan in (-1, half):  # NaN has no sign; in the formats FNUZ it stands for the negative zero
        negative = torch.signbit(wide) & (code != lost)
        code = torch.where(negative & ((code != 0) | (nan < 0)), code + half, code)
    else:
        code = torch.where(torch.signbit(wide), code + half, code)
    return code.to(torch.uint8)


def _power_codes(real: Tensor, saturate: bool, rounding: str) -> Tensor:
    """Return the bit patterns of powers of two; NaN for what is no positive number."""
    wide = real.to(torch.float64).abs()
    mantissa, exponent = torch.frexp(wide)  # wide = mantissa * 2 ** exponent, in [0.5, 1)
    power = exponent.to(torch.int64) - 1
    if rounding == "up":
        power = power + (mantissa > 0.5).to(torch.int64)
    elif rounding == "nearest":
        power = power + (mantissa >= 0.75).to(torch.int64)
    power = torch.where(wide == 0, torch.full_like(power, -127), power)
    power = torch.where(torch.isinf(wide), torch.full_like(power, 1024), power)
    code = power + 127
    code = torch.where(code > 254, torch.tensor(254 if saturate else 255), code).clamp(min=0)
    return torch.where(torch.isnan(wide), torch.tensor(255), code).to(torch.uint8)
