"""Where the integers of a tensor lie on the real axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantable.ir import (
    DType,
    QuantizationParameters,
    Rounding,
    TensorQuantizationConfig,
    UnsupportedError,
)

Integers = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Grid:
    """The integers of one activation: ``real = (q - zero_point) * scale``, ``low <= q <= high``.

    Attributes:
        dtype: Type the integers are stored in, 8 or 16 bits.
        scale: A float32 value.
        zero_point: The integer that stands for 0.
        low, high: The closed range of the integers.
    """

    dtype: DType
    scale: float
    zero_point: int
    low: int
    high: int

    @property
    def scale32(self) -> np.float32:
        return np.float32(self.scale)

    @property
    def largest_steps(self) -> int:
        """The largest ``abs(q - zero_point)`` that the stored type can hold."""
        return max(self.dtype.maximum - self.zero_point, self.zero_point - self.dtype.minimum)

    def quantize(self, real: npt.ArrayLike) -> Integers:
        """Return the integers of real numbers, as the simulation does: float32, half to even."""
        quotient = np.rint(np.asarray(real, np.float32) / self.scale32)
        low, high = self.low - self.zero_point, self.high - self.zero_point
        integers: Integers = np.clip(quotient, low, high).astype(np.int64) + self.zero_point
        return integers

    def dequantize(self, integers: npt.ArrayLike) -> Reals:
        """Return the real numbers of integers."""
        steps = np.asarray(integers, np.int64) - self.zero_point
        reals: Reals = steps.astype(np.float32) * self.scale32
        return reals


def activation_grid(
    config: TensorQuantizationConfig, row: QuantizationParameters, where: str
) -> Grid:
    """Return the grid of an activation's slot.

    Raises:
        UnsupportedError: The scheme is none of the contract: linear, static, one scale, half to
            even, at most 16 bits.
    """
    policy = config.policy
    if policy.is_floating or policy.dynamic or policy.is_per_channel or row.scale_array.size != 1:
        raise UnsupportedError(
            f"expected an activation with one static linear scale, found policy '{policy}' with "
            f"{row.scale_array.size} scales",
            where=where,
            help="choose a target whose arithmetic is 'float32-rne'",
        )
    if config.rounding is not Rounding.HALF_EVEN:
        raise UnsupportedError(
            f"expected rounding half-even, found {config.rounding.value}", where=where
        )
    storage = config.storage
    if storage.bits > 16:
        raise UnsupportedError(
            f"expected an activation of at most 16 bits, found {config.bits}", where=where
        )
    if storage.bits < 8:
        storage = DType.INT8 if storage.is_signed else DType.UINT8
    return Grid(storage, row.scale[0], row.zero_point[0], config.quant_min, config.quant_max)


def check_integers(config: TensorQuantizationConfig, where: str) -> None:
    """Refuse a parameter that is no tensor of integers with one scale, or one a channel."""
    if config.policy.is_floating or config.policy.is_per_block:
        raise UnsupportedError(
            "expected a parameter of integers with one scale a tensor or a channel, found policy "
            f"'{config.policy}'",
            where=where,
            help="integer targets have neither small floats nor blocks: quantize for this target, "
            "or emit ONNX",
        )
