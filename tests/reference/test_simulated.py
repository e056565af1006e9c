"""Simulated quantization against quantable.ir.numerics, bit for bit, and against torch's floats."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from quantable.ir import (
    Arithmetic,
    Granularity,
    QuantizationParameters,
    QuantizationPolicy,
    Rounding,
    State,
    Symmetry,
    TensorQuantizationConfig,
)
from quantable.ir.floats import FLOAT_TYPES, largest_float
from quantable.ir.numerics import dequantize, quantize, scale_from_range
from quantable.reference.simulated import slot_quantizer

_REALS = st.one_of(
    st.floats(-1e6, 1e6, width=32),
    st.floats(-8, 8, width=32),
    # Ties of scale 0.5 and 0.25, and their neighbours.
    st.integers(-64, 64).map(lambda k: float(np.float32(k / 8))),
    st.integers(-64, 64).map(lambda k: float(np.nextafter(np.float32(k / 8), np.float32(99)))),
)
_SCALES = st.one_of(
    st.sampled_from([0.25, 0.5, 1.0, 2.0**-20]), st.floats(2.0**-30, 2.0**20, width=32)
)


@st.composite
def _schemes(draw: st.DrawFn) -> tuple[TensorQuantizationConfig, QuantizationParameters]:
    bits = draw(st.integers(2, 32))
    width = (1 << bits) - 1
    low = draw(st.sampled_from([0, -(1 << (bits - 1)), -(1 << (bits - 1)) + 1]))
    high = min(low + width, (1 << (bits - 1)) - 1 if low else width)
    channels = draw(st.sampled_from([0, 3]))
    zero = st.integers(low, high) if draw(st.booleans()) else st.just(0)
    symmetry = draw(st.sampled_from(Symmetry))
    granularity = Granularity.PER_CHANNEL if channels else Granularity.PER_TENSOR
    config = TensorQuantizationConfig(
        QuantizationPolicy(granularity, Arithmetic.LINEAR, symmetry),
        bits, 0, low, high, draw(st.sampled_from(Rounding)),
        draw(st.sampled_from([0, 1])) if channels else None, state=State.ACTIVATED, row="r",
    )  # fmt: skip
    count = channels or 1
    scales = draw(st.lists(_SCALES, min_size=count, max_size=count))
    zeros = draw(st.lists(zero, min_size=count, max_size=count))
    return config, QuantizationParameters("r").filled(scales, zeros, "test")


@settings(deadline=None, max_examples=400)
@given(_schemes(), hnp.arrays(np.float32, (3, 3), elements=_REALS))
def test_linear_is_numerics_bit_for_bit(
    scheme: tuple[TensorQuantizationConfig, QuantizationParameters], x: np.ndarray
) -> None:
    config, row = scheme
    expected = dequantize(quantize(x, config, row), config, row)
    for over in (False, True):
        found = slot_quantizer(config, row, over=over)(torch.from_numpy(x.copy())).numpy()
        np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


def test_memory_that_nobody_else_has_is_taken() -> None:
    row = QuantizationParameters("r").filled([0.5], 0, "test")
    x = torch.tensor([0.3, -1.26])
    found = slot_quantizer(TensorQuantizationConfig(), row, over=True)(x)
    assert found.data_ptr() == x.data_ptr()
    assert found.tolist() == [0.5, -1.5]


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("axis", [None, 1])
def test_the_input_is_not_written_to(rounding: Rounding, axis: int | None) -> None:
    granularity = Granularity.PER_TENSOR if axis is None else Granularity.PER_CHANNEL
    config = TensorQuantizationConfig(
        QuantizationPolicy(granularity), rounding=rounding, channel_axis=axis
    )
    row = QuantizationParameters("r").filled([0.5] * (1 if axis is None else 2), 0, "test")
    x = torch.tensor([[0.3, 77.7], [-1.26, 1e9]])
    before = x.clone()
    slot_quantizer(config, row)(x)
    assert torch.equal(x, before)


@settings(deadline=None, max_examples=100)
@given(hnp.arrays(np.float32, (4, 3), elements=_REALS), st.booleans(), st.booleans(), st.booleans())
def test_dynamic_takes_the_range_at_run_time(
    x: np.ndarray, per_channel: bool, symmetric: bool, power_of_two: bool
) -> None:
    granularity = Granularity.PER_CHANNEL if per_channel else Granularity.PER_TENSOR
    symmetry = Symmetry.SYMMETRIC if symmetric else Symmetry.ASYMMETRIC
    policy = QuantizationPolicy(granularity, Arithmetic.LINEAR, symmetry, power_of_two, True)
    axis = 1 if per_channel else None
    config = TensorQuantizationConfig(policy, 8, 0, -128, 127, channel_axis=axis)
    over = 0 if per_channel else None
    scale, zero = scale_from_range(x.min(over), x.max(over), config)
    row = QuantizationParameters("r").filled(scale, zero, "test")
    expected = dequantize(quantize(x, config, row), config, row)
    found = slot_quantizer(config, QuantizationParameters("r"))(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("floating", [False, True])
@settings(deadline=None)
@given(x=hnp.arrays(np.float32, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=_REALS))
def test_blocks_are_those_of_numpy(x: np.ndarray, axis: int, floating: bool) -> None:
    arithmetic = Arithmetic.FLOATING if floating else Arithmetic.LINEAR
    policy = QuantizationPolicy(Granularity.PER_BLOCK, arithmetic, power_of_two=True)
    config = TensorQuantizationConfig(
        policy, 4, 2 if floating else 0, -7, 7, channel_axis=axis, block_size=3
    )
    count = int(np.prod(config.block_shape(x.shape)))
    row = QuantizationParameters("r").filled(2.0 ** (np.arange(count) % 5), 0, "test")
    expected = dequantize(quantize(x, config, row), config, row)
    found = slot_quantizer(config, row)(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize(("bits", "exponent_bits"), list(FLOAT_TYPES))
@settings(deadline=None)
@given(x=hnp.arrays(np.float32, st.integers(1, 20), elements=_REALS), exponent=st.integers(-20, 20))
def test_small_floats_are_those_of_numpy(
    x: np.ndarray, bits: int, exponent_bits: int, exponent: int
) -> None:
    config = _floating(bits, exponent_bits)
    row = QuantizationParameters("r").filled([2.0**exponent], 0, "test")
    expected = dequantize(quantize(x, config, row), config, row)
    found = slot_quantizer(config, row)(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


def _floating(bits: int, exponent_bits: int) -> TensorQuantizationConfig:
    policy = QuantizationPolicy(
        Granularity.PER_TENSOR, Arithmetic.FLOATING, Symmetry.SYMMETRIC, True
    )
    return TensorQuantizationConfig(policy, bits, exponent_bits, -127, 127)


@pytest.mark.parametrize(
    ("exponent_bits", "peer"), [(4, torch.float8_e4m3fn), (5, torch.float8_e5m2)]
)
@pytest.mark.parametrize("scale", [1.0, 2.0**-5, 16.0])
def test_floating_is_torch_float8(exponent_bits: int, peer: torch.dtype, scale: float) -> None:
    config = _floating(8, exponent_bits)
    limit = largest_float(exponent_bits, 7 - exponent_bits)
    # Every upper half of a float32 pattern, and numbers just above: all ties are among them.
    patterns = (torch.arange(1 << 16, dtype=torch.int32) << 16).view(torch.float32)
    x = torch.cat([patterns, torch.nextafter(patterns, torch.tensor(torch.inf))])
    x = x[torch.isfinite(x) & (x.abs() < 1e30)]
    row = QuantizationParameters("r").filled([scale], 0, "test")
    found = slot_quantizer(config, row)(x)
    expected = (x / scale).clamp(-limit, limit).to(peer).to(torch.float32) * scale
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("exponent_bits", "mantissa_bits", "limit"),
    [(4, 3, 448.0), (5, 2, 57344.0), (3, 2, 28.0), (2, 3, 7.5), (2, 1, 6.0)],
)
def test_largest_floats_are_those_of_the_specifications(
    exponent_bits: int, mantissa_bits: int, limit: float
) -> None:
    assert largest_float(exponent_bits, mantissa_bits) == limit
