"""Stored forms: what moves no data, against NumPy."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantable.passes.plan.layouts import (
    between,
    channels_last,
    inverse,
    is_direct_reshape,
    moves_no_data,
    reshape_target,
    stored_shape,
    suffix,
)

SHAPES = [(2, 3, 4), (2, 12), (6, 4), (24,), (2, 1, 3, 4), (4, 6), (1, 2, 3, 2, 2)]


@pytest.mark.parametrize("source", SHAPES)
@pytest.mark.parametrize("result", SHAPES)
def test_direct_reshapes_are_those_that_keep_the_order(
    source: tuple[int, ...], result: tuple[int, ...]
) -> None:
    x = np.arange(24).reshape(source)
    for p in permutations(range(len(source))):
        for q in list(permutations(range(len(result))))[:24]:
            stored = x.transpose(p).reshape(-1)
            wanted = x.reshape(result).transpose(q).reshape(-1)
            same = np.array_equal(stored, wanted)
            assert is_direct_reshape(source, p, result, q) == same, (p, q)


def test_channels_last_of_flattened_pixels_is_direct() -> None:
    source, result = ("N", 8, 4, 4), ("N", 8, 16)
    assert is_direct_reshape(source, (0, 2, 3, 1), result, (0, 2, 1))
    assert not is_direct_reshape(source, (0, 2, 3, 1), result, (0, 1, 2))
    assert not is_direct_reshape(("N", "M", 4), (1, 0, 2), ("M", "N", 4), (0, 1, 2))


@given(
    st.permutations(range(4)),
    st.permutations(range(4)),
    st.lists(st.integers(1, 3), min_size=4, max_size=4),
)
def test_transposes_between_forms(p: list[int], q: list[int], dims: list[int]) -> None:
    x = np.arange(math.prod(dims)).reshape(dims)
    first, second = tuple(p), tuple(q)
    stored = x.transpose(first)
    moved = stored.transpose(between(first, second))
    assert np.array_equal(moved, x.transpose(second))
    assert stored.shape == stored_shape(tuple(dims), first)
    assert np.array_equal(stored.transpose(inverse(first)), x)
    if moves_no_data(tuple(dims), first, second):
        assert np.array_equal(stored.reshape(-1), moved.reshape(-1))


def test_names_of_forms() -> None:
    assert [suffix(channels_last(rank)) for rank in (2, 3, 4, 5)] == [
        "",
        ".nwc",
        ".nhwc",
        ".p02341",
    ]
    assert suffix((1, 0)) == ".p10"


def test_reshape_targets() -> None:
    assert reshape_target(("N", 4, 4), ("N", 16)) == [0, 16]
    assert reshape_target((4, "N"), ("N", 4)) == [-1, 4]
    assert reshape_target((4, "N", "M"), ("N", "M", 4)) is None
    assert reshape_target((0, 3), (3, 0)) is None
