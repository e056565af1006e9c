"""Rounding, quantize and dequantize, scales from ranges, against values worked out by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantable.ir import (
    Granularity,
    QuantizationParameters,
    QuantizationPolicy,
    Rounding,
    Symmetry,
    TensorQuantizationConfig,
)
from quantable.ir.numerics import (
    MIN_SCALE,
    dequantize,
    quantize,
    round_to_integer,
    rounded,
    scale_from_range,
)

POINTS = (-2.5, -1.5, -0.75, -0.5, 0.49999997, 0.5, 1.5, 2.5, 2.25)
EXPECTED = {
    Rounding.HALF_EVEN: (-2, -2, -1, 0, 0, 0, 2, 2, 2),
    Rounding.HALF_UP: (-2, -1, -1, 0, 0, 1, 2, 3, 2),
    Rounding.HALF_DOWN: (-3, -2, -1, -1, 0, 0, 1, 2, 2),
    Rounding.HALF_TOWARDS_ZERO: (-2, -1, -1, 0, 0, 0, 1, 2, 2),
    Rounding.HALF_FAR_FROM_ZERO: (-3, -2, -1, -1, 0, 1, 2, 3, 2),
    Rounding.UP: (-2, -1, 0, 0, 1, 1, 2, 3, 3),
    Rounding.DOWN: (-3, -2, -1, -1, 0, 0, 1, 2, 2),
}
ASYMMETRIC = QuantizationPolicy(symmetry=Symmetry.ASYMMETRIC)
SYMMETRIC = QuantizationPolicy()
UINT8 = TensorQuantizationConfig(ASYMMETRIC, quant_min=0, quant_max=255)
INT8 = TensorQuantizationConfig(ASYMMETRIC, quant_min=-128, quant_max=127)


def row(scale: float, zero: int = 0) -> QuantizationParameters:
    return QuantizationParameters("r").filled(scale, zero, "test")


@pytest.mark.parametrize("mode", Rounding)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_each_rounding_mode_on_ties_and_beside_them(mode: Rounding, dtype: type) -> None:
    assert tuple(round_to_integer(np.asarray(POINTS, dtype), mode)) == EXPECTED[mode]


def _exact(x: Fraction, mode: Rounding) -> int:
    """The definition in exact arithmetic."""
    low = x.numerator // x.denominator
    rest, half = x - low, Fraction(1, 2)
    if mode is Rounding.DOWN or rest == 0:
        return low
    if mode is Rounding.UP or rest > half:
        return low + 1
    if rest < half:
        return low
    up = {
        Rounding.HALF_EVEN: low % 2 == 1,
        Rounding.HALF_UP: True,
        Rounding.HALF_DOWN: False,
        Rounding.HALF_TOWARDS_ZERO: x < 0,
        Rounding.HALF_FAR_FROM_ZERO: x > 0,
    }[mode]
    return low + up


@given(
    st.one_of(st.floats(-1e9, 1e9, width=32), st.integers(-9999, 9999).map(lambda n: n / 2)),
    st.sampled_from(Rounding),
)
def test_rounding_agrees_with_exact_arithmetic(x: float, mode: Rounding) -> None:
    assert round_to_integer(np.asarray([x], np.float32), mode)[0] == _exact(Fraction(x), mode)


def test_quantize_rounds_adds_the_zero_point_and_clamps() -> None:
    x = np.asarray([-100, -0.3, 0, 0.05, 0.15, 100], np.float32)
    assert quantize(x, UINT8, row(0.1, 10)).tolist() == [0, 7, 10, 10, 12, 255]


def test_quantize_clamps_infinite_quotients() -> None:
    x = np.asarray([3e38, -3e38], np.float32)
    assert quantize(x, INT8, row(1e-20)).tolist() == [127, -128]


def test_dequantize_is_the_real_value() -> None:
    assert dequantize(np.asarray([0, 10, 255]), UINT8, row(0.5, 10)).tolist() == [-5, 0, 122.5]


@given(
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=20),
    st.integers(2, 32), st.data(), st.sampled_from(Rounding),
)  # fmt: skip
def test_rounded_is_quantized_and_dequantized(
    values: list[float], bits: int, data: st.DataObject, mode: Rounding
) -> None:
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    config = TensorQuantizationConfig(
        ASYMMETRIC, bits, quant_min=low, quant_max=high, rounding=mode
    )  # fmt: skip
    scale = data.draw(st.floats(MIN_SCALE, 2.0**90, width=32))
    held = row(scale, data.draw(st.integers(low, high)))
    x = np.asarray(values, np.float32)
    with np.errstate(over="ignore"):  # the largest scale and the largest integers make infinities
        expected = dequantize(quantize(x, config, held), config, held)
        found = rounded(x, config, held)
    assert np.array_equal(found.view(np.int32), expected.view(np.int32))


def test_channels_lie_along_the_axis() -> None:
    policy = QuantizationPolicy(Granularity.PER_CHANNEL)
    config = TensorQuantizationConfig(policy, channel_axis=1)
    two = QuantizationParameters("r").filled([1.0, 2.0], 0, "test")
    x = np.full((2, 2, 3), 8, np.float32)
    q = quantize(x, config, two)
    assert q[:, 0].tolist() == [[8] * 3] * 2
    assert q[:, 1].tolist() == [[4] * 3] * 2
    assert np.array_equal(dequantize(q, config, two), x)


@given(st.integers(1, 4), st.integers(1, 9), st.integers(2, 5), st.sampled_from([0, 1, -1]))
def test_blocks_lie_along_the_axis(rows: int, columns: int, size: int, axis: int) -> None:
    policy = QuantizationPolicy(Granularity.PER_BLOCK)
    config = TensorQuantizationConfig(policy, channel_axis=axis, block_size=size)
    shape = config.block_shape((rows, columns))
    scales = 2.0 ** np.arange(np.prod(shape))
    held = QuantizationParameters("r").filled(scales, 0, "test")
    x = np.linspace(-300, 300, rows * columns, dtype=np.float32).reshape(rows, columns)
    q = quantize(x, config, held)
    for place, value in np.ndenumerate(x):
        at = tuple(n // size if a == axis % 2 else n for a, n in enumerate(place))
        alone = row(float(scales.reshape(shape)[at]))
        assert q[place] == quantize(np.asarray([value]), INT8, alone)[0]
    assert np.array_equal(dequantize(q, config, held), rounded(x, config, held))


def test_32_bit_biases_are_exact() -> None:
    config = TensorQuantizationConfig(bits=32, quant_min=-(2**31), quant_max=2**31 - 1)
    x = np.asarray([16777217.0 * 2**-20], np.float64)
    assert quantize(x, config, row(2**-20)).tolist() == [16777217]
    big = np.asarray([1e30, -1e30], np.float32)
    assert quantize(big, config, row(2**-20)).tolist() == [2**31 - 1, -(2**31)]


@pytest.mark.parametrize(
    ("low", "high", "scale"), [(-127, 127, 1 / 127), (-128, 127, 1 / 127), (0, 255, 1 / 255)]
)
def test_symmetric_scales_reach_the_extremum(low: int, high: int, scale: float) -> None:
    config = TensorQuantizationConfig(quant_min=low, quant_max=high)
    got, zero = scale_from_range(-0.5, 1.0, config)
    assert got[0] == np.float32(scale)
    assert zero.tolist() == [0]


@pytest.mark.parametrize("low", [0, -128, -100])
def test_asymmetric_zero_points_respect_quant_min(low: int) -> None:
    """PPQ computes round(-min/scale), which is right only where quant_min is 0."""
    config = TensorQuantizationConfig(ASYMMETRIC, quant_min=low, quant_max=low + 200)
    scale, zero = scale_from_range(-1.0, 3.0, config)
    assert scale[0] == np.float32(0.02)
    assert zero.tolist() == [low + 50]
    filled = QuantizationParameters("r").filled(scale, zero, "test")
    assert quantize(np.asarray([-1, 3], np.float32), config, filled).tolist() == [low, low + 200]


@pytest.mark.parametrize(("low", "high", "zero"), [(1.0, 3.0, -128), (-3.0, -1.0, 127)])
def test_the_range_is_widened_to_hold_zero(low: float, high: float, zero: int) -> None:
    scale, found = scale_from_range(low, high, INT8)
    assert scale[0] == np.float32(3 / 255)
    assert found.tolist() == [zero]


def test_power_of_two_rounds_the_scale_up_before_the_zero_point() -> None:
    """PPQ computes the zero point before it rounds the scale."""
    policy = QuantizationPolicy(symmetry=Symmetry.ASYMMETRIC, power_of_two=True)
    config = TensorQuantizationConfig(policy, quant_min=0, quant_max=255)
    scale, zero = scale_from_range(-1.0, 3.0, config)
    assert scale[0] == 2.0**-5 > 4 / 255
    assert zero.tolist() == [32]


@pytest.mark.parametrize("exponent", [-30, -1, 0, 7])
def test_a_power_of_two_stays_and_the_next_number_goes_up(exponent: int) -> None:
    config = TensorQuantizationConfig(QuantizationPolicy(power_of_two=True), quant_min=-1,
                                      quant_max=1, bits=2)  # fmt: skip
    exact = 2.0**exponent
    assert scale_from_range(0, exact, config)[0][0] == exact
    assert scale_from_range(0, np.nextafter(exact, 9e9), config)[0][0] == 2 * exact


def test_an_empty_range_has_scale_one_and_a_tiny_one_the_smallest_scale() -> None:
    assert scale_from_range(0, 0, INT8)[0].tolist() == [1.0]
    assert scale_from_range(0, 1e-45, INT8)[0].tolist() == [MIN_SCALE]


def test_ranges_of_channels_give_a_scale_each() -> None:
    config = TensorQuantizationConfig(QuantizationPolicy(Granularity.PER_CHANNEL), channel_axis=0)
    scale, zero = scale_from_range([-1, 0], [0, 127], config)
    assert scale.tolist() == [np.float32(1 / 127), 1]
    assert zero.tolist() == [0, 0]


@given(
    st.floats(-1e6, 1e6, width=32), st.floats(-1e6, 1e6, width=32),
    st.sampled_from([(0, 255), (-128, 127), (0, 15), (-32768, 32767)]), st.booleans(),
)  # fmt: skip
def test_a_range_is_covered_to_within_half_a_step(
    a: float, b: float, levels: tuple[int, int], power_of_two: bool
) -> None:
    low, high = min(a, b), max(a, b)
    policy = QuantizationPolicy(symmetry=Symmetry.ASYMMETRIC, power_of_two=power_of_two)
    config = TensorQuantizationConfig(policy, 16, 0, *levels)
    filled = QuantizationParameters("r").filled(*scale_from_range(low, high, config), "test")
    x = np.asarray([low, 0, high], np.float32)
    back = dequantize(quantize(x, config, filled), config, filled)
    assert back[1] == 0
    assert np.abs(back - x).max() <= filled.scale[0] * (0.5 + 1e-3) * 2
