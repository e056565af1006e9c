"""Paired tests against exact values, SciPy and simulation."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantable.bench.accuracy.significance import mcnemar, sqnr_gain


def _pair(gained: int, lost: int, same: int = 3) -> tuple[np.ndarray, np.ndarray]:
    first = np.array([True] * gained + [False] * lost + [True, False] * same)
    second = np.array([False] * gained + [True] * lost + [True, False] * same)
    return first, second


@pytest.mark.parametrize(
    ("gained", "lost", "expected"),
    [(0, 0, 1.0), (0, 5, 2 / 32), (5, 0, 2 / 32), (1, 6, 16 / 128), (3, 3, 1.0), (0, 6, 1 / 32)],
)
def test_mcnemar_is_exact(gained: int, lost: int, expected: float) -> None:
    assert mcnemar(*_pair(gained, lost)) == expected


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_twice_the_binomial_tail(gained: int, lost: int) -> None:
    n = gained + lost
    tail = sum(Fraction(comb(n, k), 2**n) for k in range(min(gained, lost) + 1))
    assert mcnemar(*_pair(gained, lost)) == min(1.0, float(2 * tail))


@pytest.mark.parametrize(("gained", "lost"), [(7, 19), (40, 41), (1400, 1700), (0, 3000)])
def test_mcnemar_equals_scipy(gained: int, lost: int) -> None:
    stats = pytest.importorskip("scipy.stats", reason="SciPy comes with the extra 'bench'")
    expected = stats.binomtest(gained, gained + lost, 0.5).pvalue
    assert mcnemar(*_pair(gained, lost)) == pytest.approx(expected, rel=1e-9)


def test_gain_is_the_difference_of_two_sqnrs() -> None:
    mine, other = np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 30.0])
    gain = sqnr_gain(mine, other)
    assert gain.value == pytest.approx(10.0)
    # Each sample is ten times better, so every resampled set is, too.
    assert (gain.low, gain.high) == (pytest.approx(10.0), pytest.approx(10.0))
    assert gain.is_significant


def test_gain_of_equal_tools_is_not_significant() -> None:
    generator = np.random.Generator(np.random.Philox(key=1))
    first, second = generator.exponential(size=(2, 400))
    gain = sqnr_gain(first, second)
    assert gain.low < 0 < gain.high
    assert not gain.is_significant
    assert sqnr_gain(first, second) == gain  # seeded


def test_interval_holds_the_truth_in_nineteen_of_twenty() -> None:
    generator = np.random.Generator(np.random.Philox(key=2))
    held = 0
    for _ in range(200):
        mine, other = generator.exponential(size=(2, 200)) * np.array([[1.0], [2.0]])
        gain = sqnr_gain(mine, other)
        held += gain.low <= 10 * np.log10(2) <= gain.high
    assert 180 <= held <= 198


def test_without_any_noise_nothing_is_gained() -> None:
    zeros = np.zeros(5)
    assert sqnr_gain(zeros, zeros).value == 0.0
    assert sqnr_gain(zeros, np.ones(5)).low > 1000  # against none, noise is infinitely worse
