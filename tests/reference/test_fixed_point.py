"""Fixed-point requantization against its sources, written with Python's integers."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from quantable.reference.integer.requantize import FIXED_POINT

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1


def _truncated(a: int, b: int) -> int:
    """Divide as C does."""
    return abs(a) // b * (1 if a >= 0 else -1)


def _doubling_high(a: int, b: int) -> int:
    """gemmlowp's SaturatingRoundingDoublingHighMul."""
    if a == b == INT32_MIN:
        return INT32_MAX
    nudge = 2**30 if a * b >= 0 else 1 - 2**30
    return _truncated(a * b + nudge, 2**31)


def _divided_by_power(x: int, exponent: int) -> int:
    """gemmlowp's RoundingDivideByPOT."""
    mask = (1 << exponent) - 1
    threshold = (mask >> 1) + (1 if x < 0 else 0)
    return (x >> exponent) + (1 if x & mask > threshold else 0)


def _twice(acc: int, factor: int, exponent: int) -> int:
    """TensorFlow Lite's MultiplyByQuantizedMultiplier; it does not say what overflows."""
    left, right = max(exponent, 0), max(-exponent, 0)
    shifted = min(max(acc << left, INT32_MIN), INT32_MAX)
    return _divided_by_power(_doubling_high(shifted, factor), right)


def _once(acc: int, factor: int, exponent: int) -> int:
    """The same with TFLITE_SINGLE_ROUNDING."""
    shift = 31 - exponent
    return (acc * factor + (1 << (shift - 1))) >> shift


ACCUMULATORS = st.one_of(
    st.integers(INT32_MIN + 1, INT32_MAX), st.integers(-3000, 3000),
    st.sampled_from([INT32_MIN + 1, -1, 0, 1, INT32_MAX]),
)  # fmt: skip
FACTORS = st.one_of(st.integers(2**30, INT32_MAX), st.sampled_from([2**30, INT32_MAX]))


@given(st.lists(ACCUMULATORS, min_size=1, max_size=50), FACTORS, st.integers(-31, 30))
@example([-3, -1, 1, 3], 2**30, 0)
@example([-6, -2, 2, 6], 2**30, -1)
def test_every_rounding_is_that_of_its_source(accs: list[int], factor: int, exponent: int) -> None:
    tensors = (
        torch.tensor(accs, dtype=torch.int64), torch.tensor(factor, dtype=torch.int64),
        torch.tensor(exponent, dtype=torch.int64),
    )  # fmt: skip
    for name, source in (("fixed-point-double", _twice), ("fixed-point-single", _once)):
        expected = [source(acc, factor, exponent) for acc in accs]
        np.testing.assert_array_equal(FIXED_POINT[name](*tensors).numpy(), expected, name)


def test_two_roundings_differ_from_one_at_a_tie() -> None:
    """0.4999... rounds to one half first, and then away from 0."""
    acc, factor = torch.tensor([2**24 - 1]), torch.tensor(2**30)
    once = FIXED_POINT["fixed-point-single"](acc, factor, torch.tensor(-24))
    twice = FIXED_POINT["fixed-point-double"](acc, factor, torch.tensor(-24))
    assert (int(once), int(twice)) == (0, 1)
