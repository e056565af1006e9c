"""Measures and moments agree with their definitions, however samples are split."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from quantable.driver.analysis.budget import CATEGORIES
from quantable.driver.analysis.measures import MEASURES, Totals, decibels, gain_db, noise
from quantable.driver.analysis.moments import FIGURES, Moments
from quantable.driver.analysis.remedies import REMEDIES

ROOT = Path(__file__).resolve().parents[3]
Reals = npt.NDArray[np.float32]
_NUMBERS = st.floats(-100, 100, width=32)
_SHAPES = hnp.array_shapes(min_dims=1, max_dims=2, max_side=12)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Reals, Reals]:
    shape = draw(_SHAPES)
    real = draw(hnp.arrays(np.float32, shape, elements=_NUMBERS))
    return real, draw(hnp.arrays(np.float32, shape, elements=_NUMBERS))


def totals_of(real: Reals, other: Reals, pieces: int = 1) -> Totals:
    found = Totals(float(real.min()), float(real.max()))
    for part, other_part in zip(
        np.array_split(real, pieces), np.array_split(other, pieces), strict=True
    ):
        found.add(part, other_part)
    return found


def figure(totals: Totals, name: str) -> float | None:
    return MEASURES[name].of(totals)


@given(pairs())
@settings(max_examples=60, deadline=None)
def test_measures_are_what_their_names_say(pair: tuple[Reals, Reals]) -> None:
    real, other = pair
    left, right = (array.astype(np.float64).reshape(-1) for array in pair)
    totals = totals_of(real, other)
    error = float(np.square(left - right).sum())
    assert figure(totals, "mse") == pytest.approx(error / left.size)
    if error > 0 and left.any():
        expected = 10 * math.log10(float(np.square(left).sum()) / error)
        assert figure(totals, "sqnr_db") == pytest.approx(expected, abs=1e-6)
    else:
        assert figure(totals, "sqnr_db") is None
    cosine = figure(totals, "cosine")
    assert cosine is None or -1.0 - 1e-9 <= cosine <= 1.0 + 1e-9
    kl = figure(totals, "kl")
    assert kl is not None
    assert kl >= 0
    assert (kl == 0) == np.array_equal(totals.before, totals.after)


@given(_SHAPES.flatmap(lambda shape: hnp.arrays(np.float32, shape, elements=_NUMBERS)))
@settings(max_examples=30, deadline=None)
def test_nothing_differs_from_itself(real: Reals) -> None:
    totals = totals_of(real, real)
    assert totals.is_equal
    assert totals.facts() == {
        "is_equal": True, "sqnr_db": None, "mse": 0.0, "kl": 0.0,
        "cosine": pytest.approx(1.0) if real.any() else None,
    }  # fmt: skip


@given(pairs(), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_samples_add_up_however_they_are_split(pair: tuple[Reals, Reals], pieces: int) -> None:
    whole, parts = totals_of(*pair), totals_of(*pair, pieces)
    for name in MEASURES:
        expected = figure(whole, name)
        wanted = None if expected is None else pytest.approx(expected, rel=1e-9, abs=1e-9)
        assert figure(parts, name) == wanted


@given(pairs())
@settings(max_examples=40, deadline=None)
def test_moments_of_parts_merge_to_those_of_the_whole(pair: tuple[Reals, Reals]) -> None:
    whole = Moments.of(np.concatenate([part.reshape(-1) for part in pair]))
    merged = Moments.of(pair[0]).merged(Moments.of(pair[1]))
    assert (merged.count, merged.low, merged.high) == (whole.count, whole.low, whole.high)
    for name in ("mean", "second", "third", "fourth"):
        scale = 1e-9 * max(1.0, whole.fourth)
        assert getattr(merged, name) == pytest.approx(getattr(whole, name), rel=1e-9, abs=scale)


def test_moments_are_those_of_the_textbook() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=4000)
    facts = Moments.of(values).facts()
    z = (values - values.mean()) / values.std()
    expected = (values.min(), values.max(), values.mean(), values.std(), (z**3).mean(),
                (z**4).mean() - 3)  # fmt: skip
    assert [facts[name] for name in FIGURES] == pytest.approx(expected)


def test_moments_of_repeated_elements_are_those_of_the_elements() -> None:
    values, often = np.array([1.0, 4.0, -2.0]), np.array([3, 1, 2])
    assert Moments.of(values, often) == Moments.of(np.repeat(values, often))


@pytest.mark.parametrize("array", [np.zeros(0, np.float32), np.full(5, 7.25, np.float32)])
def test_a_tensor_without_spread_has_no_shape(array: Reals) -> None:
    facts = Moments.of(array).facts()
    assert facts["skew"] is facts["kurtosis"] is None


def test_a_constant_reference_is_compared_with_what_is_off_it() -> None:
    totals = Totals(2.0, 2.0)
    totals.add(np.full(6, 2.0), np.array([2.0, 2.0, 1.5, 3.0, 3.0, 2.0]))
    assert totals.after[:3].tolist() == [1, 3, 2]
    assert (figure(totals, "kl") or 0) > 0


def test_noise_is_relative_and_averaged_over_outputs() -> None:
    quiet, silent = Totals(0.0, 4.0), Totals(0.0, 0.0)
    quiet.add(np.array([4.0, 0.0]), np.array([4.0, 2.0]))
    silent.add(np.zeros(1), np.array([3.0]))  # its reference is zero: the plain squared error
    assert noise({"a": quiet}) == 0.25
    assert noise({"a": quiet, "b": silent}) == (0.25 + 9.0) / 2
    assert decibels(0.1) == pytest.approx(10.0)
    assert decibels(0.0) is None
    assert gain_db(0.2, 0.1) == pytest.approx(10 * math.log10(2))
    assert gain_db(0.2, 0.0) is None


def documented(title: str) -> set[str]:
    """Return the keys in the first column of a table of the page."""
    text = (ROOT / "docs/analysis.md").read_text(encoding="utf-8").split(f"## {title}")[1]
    return set(re.findall(r"^\| `(\w+)` \|", text.split("\n## ")[0], re.MULTILINE))


@pytest.mark.parametrize(
    ("title", "table"),
    [("Measures", MEASURES), ("Error budget", CATEGORIES), ("Remedies", REMEDIES)],
)
def test_the_page_has_every_row_of_a_table(title: str, table: dict[str, object]) -> None:
    assert documented(title) == set(table)
