"""The knapsack against all choices there are."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from quantable.driver.mixed_precision.knapsack import (
    Groups,
    Option,
    Picks,
    cost_of,
    front,
    least_cost,
    loss_of,
    solve,
)

# Whole losses, so that sums are exact and equal ones are equal.
OPTIONS = st.builds(Option, st.integers(0, 9), st.integers(0, 9).map(float))
GROUPS = st.lists(st.lists(OPTIONS, min_size=1, max_size=4), max_size=5)


def everything(groups: Groups) -> list[Picks]:
    return list(itertools.product(*(range(len(group)) for group in groups)))


@settings(max_examples=150, deadline=None)
@given(GROUPS, st.integers(0, 45))
def test_the_best_of_all_choices_is_found(groups: Groups, limit: int) -> None:
    allowed = [picks for picks in everything(groups) if cost_of(groups, picks) <= limit]
    found = solve(groups, limit)
    if not allowed:
        assert found is None
        return
    assert found is not None
    best = min((loss_of(groups, picks), cost_of(groups, picks)) for picks in allowed)
    assert (loss_of(groups, found), cost_of(groups, found)) == best


@settings(max_examples=80, deadline=None)
@given(GROUPS)
def test_nothing_that_costs_as_little_as_a_choice_of_the_front_is_better(groups: Groups) -> None:
    corners = front(groups)
    assert cost_of(groups, corners[0]) == least_cost(groups)
    for corner in corners:
        best = solve(groups, cost_of(groups, corner))
        assert best is not None
        assert loss_of(groups, best) == loss_of(groups, corner)
    losses = [loss_of(groups, corner) for corner in corners]
    assert losses == sorted(set(losses), reverse=True)


def test_of_equal_choices_the_first_is_taken() -> None:
    twice = [Option(2, 1.0), Option(2, 1.0), Option(1, 3.0)]
    assert solve([twice, twice], 4) == (0, 0)


def test_a_network_of_hundreds_of_layers_is_solved() -> None:
    generator = np.random.Generator(np.random.Philox(3))
    sizes = generator.integers(1_000, 5_000_000, 300)
    scales = 10.0 ** generator.normal(size=300)
    groups = [
        [Option(int(size) * bits, float(scale) * 4.0**-bits) for bits in (4, 8, 16)]
        for size, scale in zip(sizes, scales, strict=True)
    ]
    limit = int(sizes.sum()) * 6
    found = solve(groups, limit)
    assert found is not None
    assert 0.999 * limit < cost_of(groups, found) <= limit
