"""Calibration methods: valid for any statistics, near the best where the best is known."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from quantable.ir import (
    Granularity,
    QuantizationParameters,
    QuantizationPolicy,
    Symmetry,
    TensorQuantizationConfig,
)
from quantable.ir.numerics import dequantize, quantize, scale_from_range
from quantable.passes.calibrate.density import Density
from quantable.passes.calibrate.methods import METHODS
from quantable.passes.calibrate.weights import WEIGHT_METHODS

ASYMMETRIC = QuantizationPolicy(symmetry=Symmetry.ASYMMETRIC)
UINT8 = TensorQuantizationConfig(ASYMMETRIC, quant_min=0, quant_max=255)
INT8 = TensorQuantizationConfig(quant_min=-127, quant_max=127)
CONFIGS = {
    "uint8": UINT8,
    "int8-asymmetric": TensorQuantizationConfig(ASYMMETRIC, quant_min=-128, quant_max=127),
    "int8": INT8,
    "int4": TensorQuantizationConfig(bits=4, quant_min=-8, quant_max=7),
    "uint2": TensorQuantizationConfig(ASYMMETRIC, bits=2, quant_min=0, quant_max=3),
    "int16": TensorQuantizationConfig(bits=16, quant_min=-32768, quant_max=32767),
    "uint8-power-of-two": TensorQuantizationConfig(
        QuantizationPolicy(symmetry=Symmetry.ASYMMETRIC, power_of_two=True),
        quant_min=0, quant_max=255,
    ),
}  # fmt: skip
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
usual = st.floats(-100, 100, width=32)
arrays = st.lists(finite, min_size=1, max_size=40) | st.lists(usual, min_size=1, max_size=200)


def row_of(low, high, config):
    scale, zero = scale_from_range(low, high, config)
    return QuantizationParameters("row").filled(scale, zero, "")


def error_of(values, config, ends):
    row = row_of(*ends, config)
    real = dequantize(quantize(values, config, row), config, row)
    return float(np.square(real.astype(np.float64) - values).mean())


def draws(name):
    rng = np.random.default_rng(7)
    found = {
        "normal": rng.normal(size=20_000),
        "relu": np.maximum(rng.normal(size=20_000), 0),
        "laplace": rng.laplace(size=20_000),
        "heavy": rng.standard_t(3, size=20_000),
        "uniform": rng.uniform(-1, 3, size=20_000),
        "negative": -np.abs(rng.normal(size=20_000)),
    }[name]
    return found.astype(np.float32)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "floating"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(values=arrays)
def test_any_statistics_give_a_valid_row(examples, method, config, values):
    statistics = examples.statistics_of(values)
    low, high = METHODS[method](statistics, config, 99.99)
    assert math.isfinite(low)
    assert math.isfinite(high)
    assert low <= high
    row = row_of(low, high, config)
    assert np.isfinite(row.scale_array).all()
    assert (row.scale_array > 0).all()
    assert config.quant_min <= row.zero_point[0] <= config.quant_max


@pytest.mark.parametrize("name", ["normal", "relu", "laplace", "heavy", "uniform", "negative"])
@pytest.mark.parametrize("kind", ["uint8", "int8", "int4", "uint2"])
def test_mse_is_near_the_best_range(examples, name, kind):
    values, config = draws(name), CONFIGS[kind]
    statistics = examples.statistics_of(values)
    found = error_of(values, config, METHODS["mse"](statistics, config, 99.99))
    shares = np.linspace(0.02, 1.0, 50)
    ends = min(statistics.minimum, 0.0), max(statistics.maximum, 0.0)
    best = min(
        error_of(values, config, (ends[0] * a, ends[1] * b))
        for a in shares[::2]
        for b in (shares if config is CONFIGS["uint2"] else [a])
    )
    assert found <= 1.05 * min(best, error_of(values, config, ends))


def test_mse_takes_the_whole_range_where_clipping_does_not_help(examples):
    values = np.linspace(0, 1, 10_000, dtype=np.float32)
    assert METHODS["mse"](examples.statistics_of(values), UINT8, 99.99) == (0.0, 1.0)


@pytest.mark.parametrize("name", ["normal", "laplace", "heavy"])
def test_mse_takes_the_widest_of_nearly_equal_ranges(examples, name, monkeypatch):
    statistics = examples.statistics_of(draws(name))
    wide = METHODS["mse"](statistics, UINT8, 99.99)
    monkeypatch.setattr("quantable.passes.calibrate.mse._TOLERANCE", 0.0)
    least = METHODS["mse"](statistics, UINT8, 99.99)
    assert wide[1] - wide[0] > least[1] - least[0]
    least_error = error_of(draws(name), UINT8, least)
    assert error_of(draws(name), UINT8, wide) <= 1.05 * least_error


def test_mse_keeps_the_end_of_a_relu_at_zero(examples):
    low, high = METHODS["mse"](examples.statistics_of(draws("relu")), UINT8, 99.99)
    assert low == 0.0
    assert 2.5 < high < 4.5
    assert row_of(low, high, UINT8).zero_point == (0,)


def test_percentile_is_the_quantile(examples):
    values = draws("normal")
    found = METHODS["percentile"](examples.statistics_of(values), UINT8, 99.0)
    assert found == pytest.approx(np.quantile(values, [0.01, 0.99]), rel=0.02)
    whole = METHODS["percentile"](examples.statistics_of(values), UINT8, 100.0)
    assert whole == pytest.approx((values.min(), values.max()))


def test_kl_clips_a_long_tail_and_keeps_a_uniform_range(examples):
    rng = np.random.default_rng(3)
    tail = np.concatenate([np.abs(rng.normal(size=100_000)), [40.0]]).astype(np.float32)
    low, high = METHODS["kl"](examples.statistics_of(tail), UINT8, 99.99)
    assert low == 0.0
    assert high < 10.0
    level = np.linspace(-1, 1, 20_000, dtype=np.float32)
    assert METHODS["kl"](examples.statistics_of(level), UINT8, 99.99) == (-1.0, 1.0)


def test_minmax_is_exact_and_headroom_twice_it(examples):
    statistics = examples.statistics_of([-0.3, 0.7])
    ends = float(np.float32(-0.3)), float(np.float32(0.7))
    assert METHODS["minmax"](statistics, UINT8, 99.99) == ends
    assert METHODS["headroom"](statistics, UINT8, 99.99) == (2 * ends[0], 2 * ends[1])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(values=st.lists(usual, min_size=1, max_size=300), cells=st.sampled_from([4, 64, 1024]))
def test_coarser_bins_hold_the_same_elements(examples, values, cells):
    density = Density.of(examples.statistics_of(values))
    assert density.mass.sum() == len(values)
    assert (density.lower <= density.upper).all()
    assert (np.diff(density.lower) >= 0).all()
    coarse = density.coarsened(cells)
    reach = max(abs(v) for v in values)
    near_zero = sum(abs(v) <= reach * 2.0**-19 for v in values)
    assert len(values) - near_zero <= coarse.mass.sum() <= max(len(values), 1)
    assert ((coarse.lower >= 0) | (coarse.upper <= 0)).all()


@pytest.mark.parametrize("method", ["minmax", "mse", "grid"])
def test_weights_have_a_range_a_channel(method):
    config = TensorQuantizationConfig(
        QuantizationPolicy(Granularity.PER_CHANNEL), quant_min=-127, quant_max=127, channel_axis=1
    )
    rng = np.random.default_rng(5)
    weights = (rng.normal(size=(64, 3)) * [1, 100, 0]).astype(np.float32)
    low, high = WEIGHT_METHODS[method](weights, config)
    assert low.shape == high.shape == (3,)
    assert (low <= high).all()
    assert (low[2], high[2]) == (0.0, 0.0)
    assert 50 < high[1] / high[0] < 200
    scale, _ = scale_from_range(low, high, config)
    assert (scale > 0).all()


def test_mse_of_weights_clips_where_that_is_better():
    config = TensorQuantizationConfig(bits=4, quant_min=-7, quant_max=7)
    weights = draws("laplace")[:5000]
    errors = []
    for method in ("minmax", "mse"):
        low, high = WEIGHT_METHODS[method](weights, config)
        errors.append(error_of(weights, config, (low, high)))
    assert errors[1] < 0.7 * errors[0]


def test_a_signed_range_and_a_power_of_two_have_the_right_zero_point():
    """PPQ's offset ignores quant_min, and is computed before the scale is rounded up."""
    signed = row_of(0.0, 2.55, CONFIGS["int8-asymmetric"])
    assert signed.zero_point == (-128,)
    power = row_of(-1.0, 3.0, CONFIGS["uint8-power-of-two"])
    assert power.scale == (2.0**-5,)
    assert power.zero_point == (32,)


def recovered(step, integers):
    return (np.float32(step) * np.asarray(integers, np.float32)).astype(np.float32)


def test_weights_recovered_from_integers_get_their_grid_back():
    config = TensorQuantizationConfig(
        QuantizationPolicy(Granularity.PER_CHANNEL), quant_min=-127, quant_max=127, channel_axis=0
    )
    rng = np.random.default_rng(11)
    integers = rng.integers(-151, 105, size=(6, 400))
    integers[1:4] = np.clip(integers[1:4], -100, 100)
    integers[4] = 0
    integers[5] = 7  # one level only
    weights = recovered(0.0123, integers)
    low, high = WEIGHT_METHODS["grid"](weights, config)
    scale, zero = scale_from_range(low, high, config)
    assert scale[1:4] == pytest.approx(0.0123, rel=1e-6)
    assert scale[5] == pytest.approx(0.0123, rel=1e-6)
    assert scale[0] == pytest.approx(151 * 0.0123 / 127, rel=1e-2)
    row = QuantizationParameters("row").filled(scale, zero, "")
    assert np.array_equal(quantize(weights, config, row)[1:6], integers[1:6])


@pytest.mark.parametrize(
    "weights",
    [
        np.random.default_rng(1).normal(size=5000).astype(np.float32),
        np.random.default_rng(1).normal(size=50).astype(np.float32),
        np.array([0.3, 0.3], np.float32),
        np.array([0.1, 0.37, -0.62], np.float32),
        np.zeros(3, np.float32),
        np.array([1.0, 1.5, 200.0, 1e6], np.float32),
    ],
)
def test_weights_on_no_grid_get_their_extrema(weights):
    grid = WEIGHT_METHODS["grid"](weights, INT8)
    assert grid == WEIGHT_METHODS["minmax"](weights, INT8)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(values=arrays)
def test_any_weights_give_a_valid_row(values):
    weights = np.asarray(values, np.float32)
    for name, method in WEIGHT_METHODS.items():
        if name == "floating":
            continue  # for other policies
        with np.errstate(over="ignore"):
            row = row_of(*method(weights, INT8), INT8)
        assert np.isfinite(row.scale_array).all()
        assert (row.scale_array > 0).all()
