"""Quantization arithmetic on NumPy arrays: the normative definition for parameters.

The torch reference runtime and the C kernels are tested against these functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from quantable.ir import floats
from quantable.ir.dtypes import DType
from quantable.ir.policies import Rounding
from quantable.ir.quantization import QuantizationParameters, TensorQuantizationConfig

Array = npt.NDArray[np.generic]
Float = npt.NDArray[np.floating]
Numbers = TypeVar(
    "Numbers", npt.NDArray[np.float32], npt.NDArray[np.float64], npt.NDArray[np.int64]
)
_EXACT = 1 << 24  # up to here float32 holds every integer
MIN_SCALE = float(np.float32(2.0**-100))
"""Smallest scale: keeps 1/scale and products of two scales normal float32 numbers."""


def _half_up(x: Float) -> Float:
    # floor(x + 0.5) is wrong for 0.49999997: x + 0.5 rounds to 1. Split the integer part off first.
    whole = np.floor(x)
    return whole + (x - whole >= 0.5)


def _half_down(x: Float) -> Float:
    return -_half_up(-x)


def _half_towards_zero(x: Float) -> Float:
    return np.copysign(_half_down(np.abs(x)), x)


def _half_far_from_zero(x: Float) -> Float:
    return np.copysign(_half_up(np.abs(x)), x)


ROUNDING: dict[Rounding, Callable[[Float], Float]] = {
    Rounding.HALF_EVEN: np.rint,
    Rounding.HALF_UP: _half_up,
    Rounding.HALF_DOWN: _half_down,
    Rounding.HALF_TOWARDS_ZERO: _half_towards_zero,
    Rounding.HALF_FAR_FROM_ZERO: _half_far_from_zero,
    Rounding.UP: np.ceil,
    Rounding.DOWN: np.floor,
}


def round_to_integer(x: Float, rounding: Rounding) -> Float:
    """Round real numbers to integers (as floats)."""
    return ROUNDING[rounding](x)


def broadcast_channels(row: Numbers, rank: int, axis: int | None) -> Numbers:
    """Reshape [channels] values so that they broadcast along `axis` of a tensor of `rank`."""
    if axis is None:
        return row.reshape(()) if row.size == 1 else row
    shape = [1] * rank
    shape[axis] = -1
    return row.reshape(shape)


def along(row: Numbers, shape: tuple[int, ...], config: TensorQuantizationConfig) -> Numbers:
    """Bring the numbers of a row to a shape that broadcasts along a tensor of `shape`."""
    if not config.policy.is_per_block or config.channel_axis is None:
        return broadcast_channels(row, len(shape), config.channel_axis)
    axis = config.channel_axis % len(shape)
    spread = np.repeat(row.reshape(config.block_shape(shape)), config.block_size, axis)
    return spread[(slice(None),) * axis + (slice(shape[axis]),)]


def quantize(
    x: Float, config: TensorQuantizationConfig, row: QuantizationParameters
) -> npt.NDArray[np.int64]:
    """Quantize: ``clamp(round(x / scale) + zero_point, quant_min, quant_max)``.

    The quotient is computed in float32 (float64 for ranges of more than 24 bits, where float32
    cannot hold every integer). A floating policy gives the bit patterns of the nearest numbers of
    its format, saturated.
    """
    if config.policy.is_floating:
        return floats.encode(_small_floats(x, config, row), config.storage).astype(np.int64)
    zero = along(row.zero_point_array, x.shape, config)
    return _steps(x, config, row).astype(np.int64) + zero


def rounded(
    x: Float, config: TensorQuantizationConfig, row: QuantizationParameters
) -> npt.NDArray[np.float32]:
    """Return ``dequantize(quantize(x))``, without the integers in between."""
    scale: Float = along(row.scale_array, x.shape, config)
    if config.policy.is_floating:
        return np.asarray(_small_floats(x, config, row) * scale, np.float32)
    work = np.float64 if config.bits > 24 else np.float32
    steps: Float = _steps(x, config, row).astype(work, copy=False)
    # Adding zero makes the zero of a negative number positive, as an integer has it.
    real: Float = np.add(steps, 0, dtype=work) * scale.astype(work)
    return real.astype(np.float32, copy=False)


def _small_floats(
    x: Float, config: TensorQuantizationConfig, row: QuantizationParameters
) -> npt.NDArray[np.float32]:
    """Return the numbers of a small floating format that are nearest to x / scale."""
    with np.errstate(over="ignore"):
        quotient = x.astype(np.float32, copy=False) / along(row.scale_array, x.shape, config)
    rounding = ROUNDING[config.rounding]
    return floats.nearest(quotient, config.exponent_bits, config.mantissa_bits, rounding)


def _steps(x: Float, config: TensorQuantizationConfig, row: QuantizationParameters) -> Float:
    """Return how many steps each element is from the zero point, clamped: integers as floats."""
    scale: Float = along(row.scale_array, x.shape, config)
    work = np.float64 if config.bits > 24 else np.float32
    zero = along(row.zero_point_array, x.shape, config)
    # An infinite quotient is clamped like any other (it has no fraction: infinity - infinity).
    with np.errstate(over="ignore", invalid="ignore"):
        quotient: Float = x.astype(work, copy=False) / scale.astype(work)
        q = round_to_integer(quotient, config.rounding)
    low, high = config.quant_min - zero, config.quant_max - zero
    is_exact = q.dtype == np.float32 and low.min() >= -_EXACT and high.max() <= _EXACT
    held = np.float32 if is_exact else np.float64
    clipped: Float = np.clip(q.astype(held, copy=False), low.astype(held), high.astype(held))
    return clipped


def dequantize(
    q: Array, config: TensorQuantizationConfig, row: QuantizationParameters
) -> npt.NDArray[np.float32]:
    """Dequantize: ``(q - zero_point) * scale`` as float32 (product in float64 above 24 bits).

    Of a floating policy q are bit patterns, and the numbers that they stand for are multiplied.
    """
    scale: Float = along(row.scale_array, q.shape, config)
    if config.policy.is_floating:
        return np.asarray(floats.decode(q, config.storage) * scale, np.float32)
    work = np.float64 if config.bits > 24 else np.float32
    zero = along(row.zero_point_array, q.shape, config)
    steps: Float = (q.astype(np.int64) - zero).astype(work)
    real: npt.NDArray[np.float32] = (steps * scale.astype(work)).astype(np.float32)
    return real


def scale_from_range(
    low: npt.ArrayLike, high: npt.ArrayLike, config: TensorQuantizationConfig
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return scale and zero point that cover the real range [low, high].

    Symmetric: ``scale = absmax / min(-quant_min, quant_max)`` (``absmax / quant_max`` for an
    unsigned range, absmax over the largest number of a floating format), zero point 0. Asymmetric:
    the range is widened to contain 0, which is then exactly representable. A power-of-two policy
    rounds the scale up, before the zero point is computed.
    """
    lo = np.minimum(np.asarray(low, np.float64).reshape(-1), 0.0)
    hi = np.maximum(np.asarray(high, np.float64).reshape(-1), 0.0)
    if config.policy.is_floating:
        scale = np.maximum(-lo, hi) / floats.largest_float(
            config.exponent_bits, config.mantissa_bits
        )
    elif config.policy.is_symmetric:
        levels = (
            config.quant_max if config.quant_min >= 0 else min(-config.quant_min, config.quant_max)
        )
        scale = np.maximum(-lo, hi) / levels
    else:
        scale = (hi - lo) / (config.quant_max - config.quant_min)
    scale = np.where(scale > 0, np.maximum(scale, MIN_SCALE), 1.0)
    if config.policy.power_of_two:
        fraction, exponent = np.frexp(scale)  # scale = fraction * 2**exponent, fraction >= 1/2
        scale = np.ldexp(1.0, exponent - (fraction == 0.5))
    scale32 = scale.astype(np.float32)
    if config.policy.is_symmetric:
        return scale32, np.zeros(scale32.shape, np.int64)
    zero = config.quant_min - np.rint(lo / scale32.astype(np.float64))
    return scale32, np.clip(zero, config.quant_min, config.quant_max).astype(np.int64)


def pack(values: Array, dtype: DType) -> bytes:
    """Return the stored bytes of an array, little endian, C order, 2 and 4-bit types packed."""
    flat = np.ascontiguousarray(values).reshape(-1)
    if not dtype.is_packed:
        return flat.astype(dtype.numpy, copy=False).tobytes()
    per_byte = 8 // dtype.bits
    fields = flat.astype(np.int64) & ((1 << dtype.bits) - 1)
    fields = np.append(fields, np.zeros(-fields.size % per_byte, np.int64))
    shifted = fields.reshape(-1, per_byte) << (dtype.bits * np.arange(per_byte))
    return bytes(shifted.sum(axis=1).astype(np.uint8))


def unpack(data: bytes | memoryview, dtype: DType, shape: tuple[int, ...]) -> Array:
    """Return the read-only array that `pack` stored (a view of `data` unless it is packed)."""
    if not dtype.is_packed:
        return np.frombuffer(data, dtype.numpy).reshape(shape)
    raw = np.frombuffer(data, np.uint8).astype(np.int16)
    shifts = dtype.bits * np.arange(8 // dtype.bits, dtype=np.int16)
    fields = (raw.reshape(-1, 1) >> shifts) & ((1 << dtype.bits) - 1)
    fields = fields.reshape(-1)[: int(np.prod(shape, dtype=int))]
    if dtype.is_integer and dtype.is_signed:
        sign = 1 << (dtype.bits - 1)
        fields = (fields ^ sign) - sign
    out = fields.astype(dtype.numpy).reshape(shape)
    out.setflags(write=False)
    return out
