"""Quantization parameters as CMSIS-NN takes them: signed bytes, Q31 multipliers with a shift."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt


def signed_offset(dtype: npt.DTypeLike) -> int:
    """Return what a byte of a type is more than the signed one of the same meaning."""
    return 128 if np.dtype(dtype) == np.uint8 else 0


def q31(multiplier: float) -> tuple[int, int]:
    """Return (mantissa, shift): ``multiplier = mantissa * 2**(shift - 31)``, rounded once."""
    if multiplier == 0:
        return 0, 0
    fraction, shift = math.frexp(multiplier)
    mantissa = round(fraction * 2**31)
    if mantissa == 2**31:
        return 2**30, shift + 1
    return mantissa, shift


def q31_arrays(
    multipliers: Iterable[float],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return mantissas and shifts of every channel."""
    pairs = np.array([q31(float(m)) for m in multipliers], np.int64).reshape(-1, 2)
    return pairs[:, 0].astype(np.int32), pairs[:, 1].astype(np.int32)


def with_one_scale(
    weight: npt.NDArray[np.int64],
    bias: npt.NDArray[np.int64],
    multiplier: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], float]:
    """Bring a layer with a scale a channel to one scale, that of the coarsest channel.

    Args:
        weight: [outputs, products].
        bias, multiplier: [outputs].
    """
    largest = float(multiplier.max())
    ratio = multiplier.astype(np.float64) / largest
    return (
        np.rint(weight * ratio[:, None]).astype(np.int64),
        np.rint(bias * ratio).astype(np.int64),
        largest,
    )
