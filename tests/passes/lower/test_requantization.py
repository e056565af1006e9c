"""Multipliers in the form of a target's arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantable.ir import Operation, UnsupportedError
from quantable.passes.lower.requantization import REQUANTIZATIONS, requantization_of
from quantable.targets import TARGETS, load_target

DOUBLE = REQUANTIZATIONS["fixed-point-double"]


def _quantize_multiplier(real: float) -> tuple[int, int]:
    """TensorFlow Lite's QuantizeMultiplier: factor and shift."""
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    # C's round(): half away from zero; no double has a tie here but with the last bit of 53 set.
    factor = math.floor(fraction * 2**31 + 0.5)
    if factor == 2**31:
        factor, shift = factor // 2, shift + 1
    if shift < -31:
        return 0, 0
    return (2**31 - 1, 30) if shift > 30 else (factor, shift)


@given(st.floats(1e-12, 1e12), st.floats(1e-3, 1e3))
def test_multipliers_are_those_of_tensorflow_lite(a: float, b: float) -> None:
    found = float(DOUBLE.multipliers(lambda real: real(a) / real(b)))
    real = float(np.float64(np.float32(a)) / np.float64(np.float32(b)))
    factor, shift = _quantize_multiplier(real)
    exact_tie = (math.frexp(real)[0] * 2**31) % 1 == 0.5
    if not exact_tie:
        assert found == math.ldexp(factor, shift - 31)


def test_a_float_multiplier_is_divided_in_float32() -> None:
    form = requantization_of(None)
    found = form.multipliers(lambda real: real(0.1) * real(0.3) / real(0.7))
    assert found == np.float32(0.1) * np.float32(0.3) / np.float32(0.7)
    assert found.dtype == np.float32


def test_shifts_take_powers_of_two_alone() -> None:
    operation = Operation("c", "Conv", ("x",), ("y",), {})
    shift = REQUANTIZATIONS["shift"]
    shift.require_power(operation, np.array([0.5, 4.0, 0.0]))
    with pytest.raises(UnsupportedError, match=r"by a power of two, found 0\.75"):
        shift.require_power(operation, np.array([0.5, 0.75]))
    DOUBLE.require_power(operation, np.array([0.75]))


def test_an_unknown_form_is_named() -> None:
    with pytest.raises(UnsupportedError, match="no integer arithmetic requantizes by 'dice'"):
        requantization_of("dice")


def test_every_integer_target_has_a_form() -> None:
    targets = [load_target(name) for name in TARGETS]
    named = {t.arithmetic.requantization for t in targets if t.integer_only}
    assert named == set(REQUANTIZATIONS)
