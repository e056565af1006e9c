"""What is kept of every sample, and what it adds up to."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantable.bench.accuracy.outcome import Outcome, Reference, joined, outcome, percent

REAL = np.array([[3.0, 0.0], [0.0, 4.0], [1.0, 0.0]], np.float32)
FOUND = np.array([[3.0, 0.0], [0.0, 3.5], [0.0, 1.0]], np.float32)
LABELS = np.array([0, 0, 1])


def test_figures_of_three_samples() -> None:
    real = Reference((REAL,), LABELS)
    found = outcome(real, [FOUND], is_classifier=True)
    assert found.noise.tolist() == [[0.0, 0.25, 2.0]]
    assert found.agreeing is not None
    assert found.agreeing.tolist() == [True, True, False]
    assert found.right is not None
    assert found.right.tolist() == [True, False, True]
    assert percent(found.right) == pytest.approx(200 / 3)
    assert found.sqnr(real.signal) == [pytest.approx(10 * math.log10(26 / 2.25))]
    assert real.right is not None
    assert real.right.tolist() == [True, False, False]


def test_batches_add_up_to_the_whole() -> None:
    real = Reference((REAL, REAL[:, :1]), LABELS)
    whole = outcome(real, [FOUND, FOUND[:, :1]], is_classifier=True)
    parts = [
        outcome(real, [FOUND[part], FOUND[part, :1]], is_classifier=True, start=part.start)
        for part in (slice(0, 2), slice(2, 3))
    ]
    assert joined(parts).to_json() == whole.to_json()


def test_no_classifier_has_no_answers() -> None:
    found = outcome(Reference((REAL,), None), [FOUND], is_classifier=False)
    assert (found.agreeing, found.right) == (None, None)
    assert joined([found]).right is None


def test_equal_outputs_have_infinite_sqnr_and_broken_ones_minus() -> None:
    real = Reference((REAL,), None)
    assert outcome(real, [REAL], is_classifier=False).sqnr(real.signal) == [math.inf]
    broken = np.full_like(REAL, np.nan)
    assert outcome(real, [broken], is_classifier=False).sqnr(real.signal) == [-math.inf]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=50)
@given(
    st.lists(st.floats(1e-12, 1e6), min_size=1, max_size=20),
    st.booleans(),
)
def test_json_gives_back_what_is_reported(noise: list[float], has_flags: bool) -> None:
    flags = np.array([value > 1 for value in noise]) if has_flags else None
    found = Outcome(np.array([noise]), flags, flags)
    again = Outcome.of_json(json.loads(json.dumps(found.to_json())))
    signal = np.ones((1, len(noise)))
    assert again.sqnr(signal)[0] == pytest.approx(found.sqnr(signal)[0], abs=1e-4)
    assert (again.right is None) == (not has_flags)
    assert has_flags is False or np.array_equal(again.agreeing, flags)
    assert again.to_json() == found.to_json()
