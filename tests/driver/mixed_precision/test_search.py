"""Searches in a real network: budgets are kept, noise falls, stopped ones go on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

import pytest

from quantable.bench.accuracy.evaluate import average_bits
from quantable.driver.data import Array
from quantable.driver.mixed_precision.budgets import BUDGETS, LIMITS, Budget
from quantable.driver.mixed_precision.items import ACTIVATION, WEIGHT
from quantable.driver.mixed_precision.search import Search
from quantable.ir import OptionError
from tests.driver.mixed_precision.conftest import Case

FIVE = Budget.parse("average-bits=5")


class Stopped(Exception):
    """Stands for a kill."""


class Kept:
    """A checkpoint that counts what is stored, and stops the work after some."""

    def __init__(self, limit: int | None = None) -> None:
        self.held: dict[str, Mapping[str, Array]] = {}
        self.limit = limit

    def load(self, key: str) -> Mapping[str, Array] | None:
        return self.held.get(key)

    def store(self, key: str, arrays: Mapping[str, Array]) -> None:
        if self.limit is not None and len(self.held) >= self.limit:
            raise Stopped
        self.held[key] = arrays


def test_every_operand_is_worse_with_four_bits_than_with_eight(measured: Search) -> None:
    for item, losses in zip(measured.items, measured.losses, strict=True):
        by_bits = {c.bits: loss for c, loss in zip(item.choices, losses, strict=True)}
        assert set(by_bits) == {4, 8}
        assert 0 <= by_bits[8] < by_bits[4]
    assert {item.role for item in measured.items} == {WEIGHT, ACTIVATION}


def test_five_bits_are_within_the_budget_and_much_better_than_four(measured: Search) -> None:
    found = measured.best(FIVE)
    assert FIVE.holds(found.items, found.best.picks)
    uniform = measured.measured((0,) * len(measured.items))
    assert found.best.measured is not None
    assert uniform.measured is not None
    assert found.best.measured < 0.7 * uniform.measured
    # What is added up is close to what the whole network does.
    assert 0.4 < found.best.measured / found.best.predicted < 2.5


def test_what_a_uniform_width_costs_buys_less_noise(measured: Search) -> None:
    uniform = (0,) * len(measured.items)
    losses = math.fsum(row[0] for row in measured.losses)
    for name in ("weight-bits", "activation-bits"):
        budget = Budget(name, LIMITS[name].amount(measured.items, uniform))
        assert measured.best(budget).best.predicted <= losses


@pytest.mark.parametrize("name", [name for name in BUDGETS if name != "latency"])
def test_every_budget_is_kept(measured: Search, name: str) -> None:
    narrow = tuple(min(range(2), key=lambda p: item.choices[p].bits) for item in measured.items)
    least = max(LIMITS[limit].amount(measured.items, narrow) for limit in BUDGETS[name])
    budget = Budget(name, least * 5 / 4)
    found = measured.best(budget)
    assert budget.holds(found.items, found.best.picks)
    assert found.best.predicted <= math.fsum(max(row) for row in measured.losses)
    for points in found.front.values():
        assert points == sorted(points)


def test_averages_are_those_of_the_benchmarks(measured: Search) -> None:
    found = measured.best(FIVE)
    weights, activations = average_bits(measured.quantized(found.entries))
    amounts = found.facts()["amounts"]
    assert weights == pytest.approx(amounts["weight-bits"])
    assert activations == pytest.approx(amounts["activation-bits"])


@pytest.mark.slow
def test_a_stopped_search_goes_on_and_ends_the_same(case: Case, measured: Search) -> None:
    stopped = Kept(limit=9)
    with pytest.raises(Stopped):
        case.search(stopped).best(FIVE)
    half = dict(stopped.held)
    stopped.limit = None
    again = case.search(stopped)
    assert again.losses == measured.losses
    assert all(stopped.held[key] is value for key, value in half.items())
    assert again.best(FIVE).facts() == measured.best(FIVE).facts()


@pytest.mark.slow
def test_another_budget_measures_only_its_own_result(case: Case) -> None:
    kept = Kept()
    case.search(kept).best(FIVE)
    kept.limit = len(kept.held) + 1
    case.search(kept).best(Budget.parse("size=50000"))


@pytest.mark.slow
def test_neighbours_are_tried_and_the_best_is_kept(measured: Search) -> None:
    found = measured.best(FIVE, trials=2)
    assert len(found.tried) == 3
    assert len({tried.picks for tried in found.tried}) == 3
    assert all(FIVE.holds(found.items, tried.picks) for tried in found.tried)
    assert found.best.measured == min(tried.measured or 0.0 for tried in found.tried)


def test_an_impossible_budget_says_the_least_before_anything_is_measured(case: Case) -> None:
    kept = Kept(limit=0)
    with pytest.raises(OptionError, match="the least possible is 4") as caught:
        case.search(kept).best(Budget.parse("average-bits=3.9"))
    assert "average bits of weights" in str(caught.value)


def test_latency_is_counted_by_the_table_of_the_backend(case: Case) -> None:
    search = Search(case.graph, "c-portable", case.profile, case.laboratory)
    with pytest.raises(OptionError, match="no table of costs"):
        case.search().best(Budget.parse("latency=1e6"))
    with pytest.raises(OptionError, match="the least possible is"):
        search.best(Budget.parse("latency=1000"))
    convs = sum(i.products for i in search.items if i.role == WEIGHT and i.kind == "Conv")
    lines = sum(i.products for i in search.items if i.role == WEIGHT and i.kind != "Conv")
    amount = LIMITS["latency"].amount(search.items, (0,) * len(search.items))
    assert amount == convs + lines * Fraction(27, 100)


def test_overflowing_widths_are_no_choice_for_integer_targets(case: Case) -> None:
    items = Search(case.graph, "c-portable", case.profile, case.laboratory).items
    entries = [item.entry(len(item.choices) - 1) for item in items if item.role == ACTIVATION]
    assert any(entry.endswith("=wide") for entry in entries)
    case.search(target="c-portable").quantized(entries)
