"""How far arrays are apart, infinities and NaN included."""

from __future__ import annotations

import math

import numpy as np
import pytest

from quantable.ir.diff import Measure


def _measured(*pairs: tuple[list[float], list[float]]) -> Measure:
    measure = Measure()
    for before, after in pairs:
        measure.add(np.asarray(before, np.float32), np.asarray(after, np.float32))
    return measure


def test_parts_add_up() -> None:
    whole, parts = _measured(([3, 4], [3, 3])), _measured(([3], [3]), ([4], [3]))
    for measure in (whole, parts):
        assert (measure.elements, measure.differing, measure.max_abs) == (2, 1, 1.0)
        assert measure.sqnr_db == pytest.approx(10 * math.log10(25))
        assert measure.cosine == pytest.approx(21 / math.sqrt(25 * 18))


def test_equal_arrays_have_no_ratio() -> None:
    measure = _measured(([1, math.inf, math.nan], [1, math.inf, math.nan]))
    assert (measure.differing, measure.max_abs, measure.sqnr_db) == (0, 0.0, None)


@pytest.mark.parametrize("wrong", [math.inf, -math.inf, math.nan])
def test_what_is_no_number_is_infinitely_far_off(wrong: float) -> None:
    measure = _measured(([1, 2], [1, wrong]))
    assert (measure.differing, measure.max_abs) == (1, math.inf)
    assert measure.sqnr_db is None


def test_nothing_is_measured_of_empty_arrays() -> None:
    measure = _measured(([], []))
    assert (measure.elements, measure.max_abs, measure.cosine) == (0, 0.0, None)
