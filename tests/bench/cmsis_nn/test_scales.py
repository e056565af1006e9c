"""Multipliers of 31 bits, and one scale for a layer."""

from __future__ import annotations

import numpy as np
import pytest

from quantable.bench.cmsis_nn.scales import q31, q31_arrays, with_one_scale


@pytest.mark.parametrize("multiplier", [1e-9, 0.00731, 0.5, 1 - 2**-40, 1.0, 3.7])
def test_a_mantissa_has_31_bits(multiplier):
    mantissa, shift = q31(multiplier)
    assert 2**30 <= mantissa < 2**31
    assert mantissa * 2.0 ** (shift - 31) == pytest.approx(multiplier, rel=2**-31)


def test_zero_and_arrays():
    assert q31(0.0) == (0, 0)
    mantissas, shifts = q31_arrays([0.25, 1.5])
    assert mantissas.tolist() == [2**30, 3 * 2**29]
    assert shifts.tolist() == [-1, 1]


def test_one_scale_keeps_the_results():
    weight = np.array([[100, -50], [100, -50]])
    made, bias, scale = with_one_scale(
        weight, np.array([400, 400]), np.array([2.0, 1.0], np.float32)
    )
    np.testing.assert_array_equal(made, [[100, -50], [50, -25]])
    assert (bias.tolist(), scale) == ([400, 200], 2.0)
