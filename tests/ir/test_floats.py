"""Small floats: their numbers, their bit patterns, rounding to them, and policies that use them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantable.ir import (
    Arithmetic,
    DType,
    Granularity,
    QuantizationParameters,
    QuantizationPolicy,
    Rounding,
    TensorQuantizationConfig,
    floats,
)
from quantable.ir.numerics import ROUNDING, dequantize, quantize, rounded, scale_from_range

TYPES = list(floats.FLOAT_TYPES.values())
FORMATS = list(floats.FLOAT_TYPES)
REALS = st.lists(st.floats(-1e5, 1e5, width=32) | st.floats(-1, 1, width=32), min_size=1)


def config(
    bits: int, exponent_bits: int, granularity: Granularity = Granularity.PER_TENSOR
) -> TensorQuantizationConfig:
    policy = QuantizationPolicy(granularity, Arithmetic.FLOATING, power_of_two=True)
    is_block = policy.is_per_block
    return TensorQuantizationConfig(
        policy, bits, exponent_bits, channel_axis=0 if policy.has_axis else None,
        block_size=3 if is_block else 0,
    )  # fmt: skip


def row(*scales: float) -> QuantizationParameters:
    return QuantizationParameters("r").filled(scales, 0, "test")


def test_the_numbers_of_the_smallest_format_are_those_of_the_specification() -> None:
    positive = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
    assert floats.numbers(DType.FLOAT4E2M1).tolist() == [*positive, *(-x for x in positive)]


def test_the_special_patterns() -> None:
    e4m3, e5m2 = floats.numbers(DType.FLOAT8E4M3FN), floats.numbers(DType.FLOAT8E5M2)
    assert np.flatnonzero(~np.isfinite(e4m3)).tolist() == [0x7F, 0xFF]
    assert (e4m3[0x7E], e4m3[0x01], e4m3[0x08]) == (448.0, 2.0**-9, 2.0**-6)
    assert np.flatnonzero(np.isinf(e5m2)).tolist() == [0x7C, 0xFC]
    assert np.flatnonzero(np.isnan(e5m2)).tolist() == [0x7D, 0x7E, 0x7F, 0xFD, 0xFE, 0xFF]
    assert (e5m2[0x7B], e5m2[0x01]) == (57344.0, 2.0**-16)


@pytest.mark.parametrize("dtype", TYPES)
def test_every_pattern_of_a_finite_number_is_found_again(dtype: DType) -> None:
    table = floats.numbers(dtype)
    finite = np.flatnonzero(np.isfinite(table))
    assert floats.encode(table[finite], dtype).tolist() == finite.tolist()
    assert np.array_equal(floats.decode(np.arange(table.size), dtype), table, equal_nan=True)


@pytest.mark.parametrize("bits", FORMATS, ids=str)
@given(values=REALS)
def test_encoding_and_rounding_agree(bits: tuple[int, int], values: list[float]) -> None:
    dtype, x = floats.FLOAT_TYPES[bits], np.asarray(values, np.float32)
    mantissa = bits[0] - bits[1] - 1
    near = floats.nearest(x, bits[1], mantissa, ROUNDING[Rounding.HALF_EVEN])
    # The sign of zero is the only thing that rounding loses.
    assert np.array_equal(floats.decode(floats.encode(x, dtype), dtype), near)
    assert not np.signbit(near[near == 0]).any()


def test_nan_is_no_number_that_is_encoded() -> None:
    with pytest.raises(ValueError, match="found NaN"):
        floats.encode(np.asarray([np.nan], np.float32), DType.FLOAT8E4M3FN)


@pytest.mark.parametrize("bits", FORMATS, ids=str)
@pytest.mark.parametrize("granularity", Granularity)
@given(values=REALS, exponent=st.integers(-20, 20))
def test_rounded_is_quantized_and_dequantized(
    bits: tuple[int, int], granularity: Granularity, values: list[float], exponent: int
) -> None:
    held, x = config(*bits, granularity), np.asarray(values, np.float32)
    count = {Granularity.PER_CHANNEL: x.size, Granularity.PER_BLOCK: -(-x.size // 3)}
    scales = [2.0 ** (exponent + i % 3) for i in range(count.get(granularity, 1))]
    codes = quantize(x, held, row(*scales))
    assert codes.max() < 1 << bits[0]
    found = dequantize(codes, held, row(*scales))
    expected = rounded(x, held, row(*scales))
    assert np.array_equal(found.view(np.int32), expected.view(np.int32))


def test_the_scale_of_a_range_brings_its_end_to_the_largest_number() -> None:
    held = config(8, 4)
    for end, scale in ((448.0, 1.0), (449.0, 2.0), (3.5, 2.0**-7), (0.0, 1.0)):
        assert scale_from_range(-end, end / 2, held)[0].tolist() == [scale]
    assert quantize(np.asarray([1e9], np.float32), held, row(1.0)).tolist() == [0x7E]


@pytest.mark.parametrize("rounding", Rounding)
def test_every_rounding_mode_reaches_the_numbers_next_to_it(rounding: Rounding) -> None:
    x = np.asarray([2.5, -2.5, 1.25, 5.0], np.float32)
    near = floats.nearest(x, 2, 1, ROUNDING[rounding])
    away = {Rounding.HALF_EVEN: [2, -2, 1, 4], Rounding.HALF_FAR_FROM_ZERO: [3, -3, 1.5, 6],
            Rounding.HALF_TOWARDS_ZERO: [2, -2, 1, 4], Rounding.HALF_UP: [3, -2, 1.5, 6],
            Rounding.HALF_DOWN: [2, -3, 1, 4], Rounding.UP: [3, -2, 1.5, 6],
            Rounding.DOWN: [2, -3, 1, 4]}  # fmt: skip
    assert near.tolist() == away[rounding]
