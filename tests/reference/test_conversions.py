"""Conversions between element types against ml_dtypes, over all numbers of 16 bits."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import torch

from quantable.ir import DType
from quantable.ir.floats import decode, encode, numbers
from quantable.reference.conversions import converted, numbers_of
from quantable.reference.tensors import to_array, to_tensor

TYPES = {
    DType.FLOAT8E4M3FN: ml_dtypes.float8_e4m3fn, DType.FLOAT8E5M2: ml_dtypes.float8_e5m2,
    DType.FLOAT8E4M3FNUZ: ml_dtypes.float8_e4m3fnuz, DType.FLOAT4E2M1: ml_dtypes.float4_e2m1fn,
    DType.FLOAT8E5M2FNUZ: ml_dtypes.float8_e5m2fnuz, DType.FLOAT8E8M0: ml_dtypes.float8_e8m0fnu,
}  # fmt: skip
HALVES = np.arange(1 << 16).astype(np.uint16).view(np.float16)


@pytest.mark.parametrize("dtype", TYPES)
def test_every_pattern_stands_for_its_number(dtype: DType) -> None:
    codes = np.arange(1 << dtype.bits).astype(np.uint8)
    expected = codes.view(TYPES[dtype]).astype(np.float32)
    np.testing.assert_array_equal(numbers(dtype), expected)
    np.testing.assert_array_equal(numbers_of(to_tensor(codes, dtype), dtype).numpy(), expected)


@pytest.mark.parametrize("dtype", [d for d in TYPES if d is not DType.FLOAT8E8M0])
def test_every_half_becomes_the_nearest_number(dtype: DType) -> None:
    found = to_array(converted(torch.from_numpy(HALVES.copy()), None, dtype, saturate=False))
    is_nan = np.isnan(HALVES)
    expected = HALVES[~is_nan].astype(np.float32).astype(TYPES[dtype]).view(np.uint8)
    np.testing.assert_array_equal(found[~is_nan], expected)
    reached = decode(found[is_nan], dtype)
    assert np.isnan(reached).all() or dtype is DType.FLOAT4E2M1


@pytest.mark.parametrize("dtype", [d for d in TYPES if d is not DType.FLOAT8E8M0])
def test_saturation_ends_at_the_largest_number(dtype: DType) -> None:
    finite = numbers(dtype)[np.isfinite(numbers(dtype))]
    x = torch.tensor([1e9, -1e9, float("inf"), float("-inf"), float(finite.max())])
    found = decode(to_array(converted(x, None, dtype)), dtype)
    assert found.tolist() == [
        finite.max(),
        -finite.max(),
        finite.max(),
        -finite.max(),
        finite.max(),
    ]


@pytest.mark.parametrize("dtype", TYPES)
def test_numbers_of_a_type_are_encoded_as_they_are(dtype: DType) -> None:
    codes = np.flatnonzero(np.isfinite(numbers(dtype)))
    real = numbers(dtype)[codes]
    np.testing.assert_array_equal(decode(encode(real, dtype), dtype), real)


def test_powers_of_two_round_as_they_are_told() -> None:
    x = torch.tensor([1.0, 1.5, 1.49, 3.0, 0.75, 2.0**-127, 0.0])
    for rounding, expected in (
        ("up", [1, 2, 2, 4, 1, 2.0**-127, 2.0**-127]),
        ("down", [1, 1, 1, 2, 0.5, 2.0**-127, 2.0**-127]),
        ("nearest", [1, 2, 1, 4, 1, 2.0**-127, 2.0**-127]),
    ):
        found = to_array(converted(x, None, DType.FLOAT8E8M0, rounding=rounding))
        assert decode(found, DType.FLOAT8E8M0).tolist() == expected, rounding


@pytest.mark.parametrize(("dtype", "expected"), [
    (DType.INT2, [0, 1, -2, -1, 0, -1, 1]), (DType.UINT2, [0, 1, 2, 3, 0, 3, 1]),
    (DType.INT4, [0, 1, 2, 3, 4, -1, 5]), (DType.UINT4, [0, 1, 2, 3, 4, 15, 5]),
])  # fmt: skip
def test_narrow_integers_keep_their_lower_bits(dtype: DType, expected: list[int]) -> None:
    x = torch.tensor([0, 1, 2, 3, 4, -1, 21])
    assert converted(x, DType.INT64, dtype).tolist() == expected
