"""Proofs that accumulators and biases fit their width."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quantable.ir import Operation, UnsupportedError
from quantable.passes.lower.grids import Grid

INT32_MAX = 2**31 - 1


def check_weighted_sum(
    operation: Operation, weight: npt.NDArray[np.int64], bias: npt.NDArray[np.int64], grid: Grid
) -> None:
    """Prove that no partial sum of a convolution or matrix product leaves int32.

    Each product is bounded with its actual weight and the input's stored range. Sums of the
    positive and of the negative bounds hold for every order of summation and every subset
    (padding).

    Args:
        operation: For the message.
        weight: Integers [outputs, terms].
        bias: Integers [outputs].
        grid: The grid of the input.

    Raises:
        UnsupportedError: Some accumulator could overflow.
    """
    low, high = grid.dtype.minimum - grid.zero_point, grid.dtype.maximum - grid.zero_point
    positive = np.maximum(weight, 0).sum(axis=1)
    negative = np.minimum(weight, 0).sum(axis=1)
    highest = positive * high + negative * low + np.maximum(bias, 0)
    lowest = positive * low + negative * high + np.minimum(bias, 0)
    _check(operation, max(int(highest.max(initial=0)), -int(lowest.min(initial=0))))


def check_sum(operation: Operation, largest_term: int, count: int) -> None:
    """Prove that a sum of `count` terms of at most `largest_term` fits int32.

    Raises:
        UnsupportedError: The accumulator could overflow.
    """
    _check(operation, largest_term * count)


def _check(operation: Operation, largest: int) -> None:
    if largest > INT32_MAX:
        raise UnsupportedError(
            f"the accumulator can overflow: expected at most {INT32_MAX} in magnitude, "
            f"found {largest}",
            where=operation.where(),
            help="use fewer bits for the input or the weights of this operation",
        )


def quantized_bias(
    operation: Operation, real: npt.NDArray[np.float32], scale: npt.NDArray[np.float32]
) -> npt.NDArray[np.int64]:
    """Return a bias in steps of the accumulator, rounded once from float64.

    Raises:
        UnsupportedError: An element leaves int32.
    """
    steps = np.rint(real.astype(np.float64) / scale.astype(np.float64))
    largest = float(np.abs(steps).max(initial=0.0))
    if not largest <= INT32_MAX:
        channel = int(np.abs(steps).argmax())
        raise UnsupportedError(
            f"the bias overflows int32: expected at most {INT32_MAX} steps, found {largest:.6g} "
            f"in channel {channel}",
            where=operation.where(),
            help="the input or weight scale of this channel is too small: calibrate with another "
            "observer, or keep the operation in float",
        )
    return steps.astype(np.int64)
