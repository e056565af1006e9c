"""Profiles merge exactly, in any order and any sharding."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantable.ir import DataError, Profile, ValueStatistics
from quantable.ir.profile import BIN_COUNT, bin_edges

FLOATS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1)


def measured(values: list[float]) -> ValueStatistics:
    array = np.asarray(values, np.float32)
    histogram = np.bincount(array.view(np.uint32) >> 16, minlength=BIN_COUNT)
    return ValueStatistics.of(histogram, float(array.min()), float(array.max()))


def profile(values: list[float], samples: int = 1) -> Profile:
    return Profile("g", samples, {"x": measured(values)})


@given(FLOATS, st.data())
def test_any_sharding_and_order_gives_the_same(values: list[float], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(values)))
    shards = [values[i : i + cut] for i in range(0, len(values), cut)]
    whole = profile(values, len(shards))
    order = data.draw(st.permutations(shards))
    merged = profile(order[0])
    for shard in order[1:]:
        merged = merged.merged(profile(shard))
    assert merged == whole


def test_merging_is_associative_and_commutative() -> None:
    parts = [profile([1.0, 2.0]), profile([-3.0]), profile([0.0, 1.0])]
    results = [a.merged(b).merged(c) for a, b, c in itertools.permutations(parts)]
    results += [a.merged(b.merged(c)) for a, b, c in itertools.permutations(parts)]
    assert all(result == results[0] for result in results)
    assert results[0].sample_count == 3
    assert results[0].statistics["x"].count == 5


def test_a_value_without_elements_merges() -> None:
    empty = ValueStatistics(0, float("inf"), float("-inf"), (), ())
    assert empty.merged(empty) == empty
    assert empty.merged(measured([1.0])) == measured([1.0])


def test_profiles_of_other_graphs_and_other_values_are_refused() -> None:
    mine = profile([1.0])
    with pytest.raises(DataError, match="profiles of two graphs"):
        mine.merged(Profile("h", 1, mine.statistics))
    with pytest.raises(DataError, match="only one has 'y'"):
        mine.merged(Profile("g", 1, {**mine.statistics, "y": measured([1.0])}))


@given(st.floats(width=32, allow_nan=False, min_value=-(2.0**120), max_value=2.0**120))
def test_every_number_lies_between_the_edges_of_its_bin(value: float) -> None:
    bin_index = int(np.asarray([value], np.float32).view(np.uint32)[0] >> 16)
    low, high = bin_edges([bin_index])
    assert low[0] <= value <= high[0]


def test_statistics_are_held_sorted_by_name() -> None:
    item = measured([1.0])
    assert list(Profile("g", 1, {"b": item, "a": item}).statistics) == ["a", "b"]
