"""Scales of floating numbers and of blocks, against what a search by hand finds."""

from __future__ import annotations

import itertools
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from quantable.ir import (
    Arithmetic,
    Granularity,
    OptionError,
    QuantizationParameters,
    QuantizationPolicy,
    TensorQuantizationConfig,
)
from quantable.ir.floats import FLOAT_TYPES
from quantable.ir.numerics import rounded, scale_from_range
from quantable.passes.calibrate.methods import METHODS
from quantable.passes.calibrate.weights import WEIGHT_METHODS


def floating(bits, exponent_bits, granularity=Granularity.PER_TENSOR, size=0):
    policy = QuantizationPolicy(granularity, Arithmetic.FLOATING, power_of_two=True)
    axis = 0 if policy.has_axis else None
    return TensorQuantizationConfig(policy, bits, exponent_bits, channel_axis=axis, block_size=size)


def error_of(weights, config, scale):
    row = QuantizationParameters("r").filled(scale, 0, "")
    return float(np.square(rounded(weights, config, row).astype(np.float64) - weights).sum())


def scale_of(method, weights, config):
    return scale_from_range(*WEIGHT_METHODS[method](weights, config), config)[0]


@pytest.mark.parametrize("bits", list(FLOAT_TYPES), ids=str)
@pytest.mark.parametrize("spread", ["normal", "laplace", "uniform"])
def test_no_power_of_two_has_a_smaller_error(bits, spread):
    weights = getattr(np.random.default_rng(3), spread)(size=2000).astype(np.float32)
    config = floating(*bits)
    found = error_of(weights, config, scale_of("floating", weights, config))
    for exponent in range(-20, 8):
        assert found <= error_of(weights, config, [2.0**exponent]) * (1 + 1e-12)


def test_the_smallest_format_gains_by_clipping():
    weights = np.asarray([4.1, *np.linspace(-2, 2, 256)], np.float32)  # 4.1 would cost a bit
    config = floating(4, 2)
    assert scale_of("minmax", weights, config).tolist() == [1.0]
    assert scale_of("floating", weights, config).tolist() == [0.5]


def test_scale_one_is_constant():
    for config in (floating(8, 4), TensorQuantizationConfig(quant_min=-127, quant_max=127)):
        weights = np.asarray([1e-3, 5.0], np.float32)
        assert scale_of("constant", weights, config).tolist() == [1.0]


def test_activations_get_what_their_elements_would(examples):
    values = np.random.default_rng(5).laplace(size=20_000).astype(np.float32)
    for bits in FLOAT_TYPES:
        config = floating(*bits)
        for method in ("floating", "constant"):
            low, high = METHODS[method](examples.statistics_of(values), config, 99.99)
            scale, _ = scale_from_range(low, high, config)
            assert scale.tolist() == scale_of(method, values, config).tolist()


def test_a_linear_policy_has_no_floating_scale():
    with pytest.raises(OptionError, match="'floating' is for floating policies, found 'tensor-lin"):
        WEIGHT_METHODS["floating"](np.ones(3, np.float32), TensorQuantizationConfig())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)), axis=st.sampled_from([0, 1]),
    size=st.integers(2, 5), method=st.sampled_from(["minmax", "mse", "constant"]),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_a_block_gets_what_its_elements_alone_would(shape, axis, size, method, seed):
    weights = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    policy = QuantizationPolicy(Granularity.PER_BLOCK)
    config = TensorQuantizationConfig(
        policy, 4, quant_min=-8, quant_max=7, channel_axis=axis, block_size=size
    )
    alone = replace(config, policy=QuantizationPolicy(), channel_axis=None, block_size=0)
    found = scale_of(method, weights, config).reshape(config.block_shape(shape))
    for place in itertools.product(*map(range, found.shape)):
        part = [slice(n, n + 1) for n in place]
        part[axis] = slice(place[axis] * size, place[axis] * size + size)
        assert found[place] == scale_of(method, weights[tuple(part)], alone)[0]


def test_blocks_of_zeros_and_huge_numbers_have_valid_scales():
    weights = np.zeros((64, 3), np.float32)
    weights[40, 1] = 3e38
    for config in (
        floating(8, 4, Granularity.PER_BLOCK, 32), floating(4, 2, Granularity.PER_BLOCK, 32),
    ):  # fmt: skip
        scale = scale_of("floating", weights, config)
        assert scale.shape == (6,)
        assert np.isfinite(scale).all()
        assert (scale > 0).all()
        assert np.isfinite(
            rounded(weights, config, QuantizationParameters("r").filled(scale, 0, ""))
        ).all()


def test_observers_of_floating_slots_are_kept_unless_another_suits(examples):
    graph = examples.network("c = Conv(x, w, b)")
    context = examples.context_of(graph, "onnxruntime-fp8")
    first = examples.after(graph, examples.QUANTIZE, context)
    told = {}
    for options in ("", '{weights="mse"}', '{weights="constant"}'):
        done = examples.after(first, [calibrate(options)], context)
        config = done.operation_by_name["c"].config.inputs[1]
        told[options] = (config.observer, set(done.rows["c.in1"].scale) == {1.0})
    assert told == {
        "": ("floating", False), '{weights="mse"}': ("floating", False),
        '{weights="constant"}': ("constant", True),
    }  # fmt: skip


def calibrate(options):
    from quantable.driver.pipelines import resolve

    (item,) = resolve(f"calibrate{options}")
    return item
