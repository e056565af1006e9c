"""What kernels for bytes ask of an operation before they take it."""

from __future__ import annotations

import numpy as np

from quantable.backends.c.unit import Step
from quantable.ir import DType

_LIMIT = 2.0**30
"""Products of accumulators and multipliers stay below, so that rounding them needs no clamp."""


def is_bytes(step: Step, inputs: int, dtype: DType = DType.UINT8) -> bool:
    """Whether the first inputs and the output are bytes of a type."""
    values = [*(step.input(slot) for slot in range(inputs)), step.output()]
    return all(value.dtype is dtype for value in values)


def fits_unclamped(step: Step, reach: int, multiplier: float | None = None) -> bool:
    """Whether no accumulator within a bound, times the multiplier, leaves int32."""
    if multiplier is None:
        multiplier = step.operation.float_attribute("multiplier")
    return reach < DType.INT32.maximum and reach * abs(float(np.float32(multiplier))) < _LIMIT


def byte_terms(step: Step, dtype: DType = DType.UINT8) -> tuple[int, int, int] | None:
    """Return the factors of an int.Add of bytes of one shape, 16 bits each, and its constant.

    The accumulator is ``a * factor + b * factor + constant``. None where it is no such Add.
    """
    op = step.operation
    if not is_bytes(step, 2, dtype) or step.shape(step.input(0)) != step.shape(step.input(1)):
        return None
    first, second = (op.int_attribute(f"{side}_multiplier") for side in "ab")
    zeros = [op.int_attribute(f"{side}_zero_point") for side in "ab"]
    reach = 255 * (abs(first) + abs(second))
    if max(abs(first), abs(second)) > DType.INT16.maximum or not fits_unclamped(step, reach):
        return None
    return first, second, -(zeros[0] * first + zeros[1] * second)
