"""Rows beside the best peer, and their bars."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from quantable.bench.accuracy.bars import Bar, at_least, at_most, least_top_1
from quantable.bench.accuracy.outcome import Outcome
from quantable.bench.accuracy.rows import Row, compared
from tests.bench.accuracy.conftest import MakeRow


def verdicts(row: Row) -> dict[str, tuple[bool, float]]:
    """Return (holds, margin) by figure."""
    return {verdict.figure: (verdict.holds, round(verdict.margin, 3)) for verdict in row.verdicts}


def test_figures_of_a_row(make_row: MakeRow) -> None:
    found = make_row("nncf", right=740)
    assert found.sqnr == (pytest.approx(30.0),)
    assert (found.agreement, found.top_1, found.float_top_1, found.change) == (99, 74, 75, -1)
    assert found.p_float == pytest.approx(2 / 2**10)


def test_the_best_peer_is_the_one_with_the_highest_sqnr(make_row: MakeRow) -> None:
    rows = [
        make_row("ort-minmax", noise=0.002, right=760),
        make_row("nncf", noise=0.001, right=740),
        make_row("onnxruntime/balanced", noise=0.0005, right=750, agreeing=980),
    ]
    first, best, mine = compared(rows)
    assert best.against is None
    assert first.against is not None
    assert first.against.peer == "nncf"
    assert first.against.gains[0].value == pytest.approx(-3.01, abs=0.01)
    assert mine.against is not None
    assert mine.against.gains[0].low > 0
    assert mine.against.top_1 == pytest.approx(2 / 2**10)
    assert mine.against.agreement == pytest.approx(2 / 2**10)
    assert not first.verdicts


def test_balanced_is_held_to_the_best_of_each_figure_published_ones_included(
    make_row: MakeRow,
) -> None:
    peer = make_row("nncf", noise=0.001, agreeing=970)  # published: 29.40 dB, 96.68 %
    good = make_row("onnxruntime/balanced", noise=0.001, agreeing=970)
    bad = make_row("x86-vnni/balanced", noise=0.002, agreeing=960)
    _, held, missed = compared([peer, good, bad])
    assert verdicts(held) == {
        "SQNR": (True, 0.0), "agreement": (True, 0.0), "change beyond noise": (True, 0.0),
    }  # fmt: skip
    assert verdicts(missed)["SQNR"] == (False, -3.01)
    assert verdicts(missed)["agreement"] == (False, -1.0)
    weak = make_row("nncf", noise=0.1, agreeing=500)
    assert verdicts(compared([weak, bad])[1])["agreement"] == (False, -0.68)  # the published one


def test_best_has_to_be_two_decibels_ahead(make_row: MakeRow) -> None:
    peer = make_row("nncf", noise=0.001)
    _, mine = compared([peer, make_row("onnxruntime/best", noise=0.0008)])
    assert verdicts(mine)["SQNR"] == (False, pytest.approx(-1.031, abs=0.001))


def test_a_loss_of_top_1_counts_when_it_is_beyond_noise(make_row: MakeRow) -> None:
    peer = make_row("nncf")
    for right, holds in ((749, True), (735, False), (765, True)):
        _, mine = compared([peer, make_row("onnxruntime/balanced", right=right)])
        assert verdicts(mine)["change beyond noise"][0] is holds


def test_fast_is_held_to_onnxruntime_minmax(make_row: MakeRow) -> None:
    rows = [make_row("ort-minmax", noise=0.002), make_row("nncf", noise=0.0001)]
    fast = make_row("onnxruntime/fast", right=745)
    assert verdicts(compared([*rows, fast])[2]) == {
        "SQNR": (True, 3.01), "agreement": (True, 0.0), "distance of top-1": (True, 0.0),
    }  # fmt: skip
    away = make_row("onnxruntime/fast", right=756)  # a gain is as unfaithful as a loss
    assert verdicts(compared([*rows, away])[2])["distance of top-1"] == (False, -0.1)


def test_mixed_precision_is_held_to_its_bits(make_row: MakeRow) -> None:
    how = {"suite": "mixed", "network": "mobilenetv2_keras", "right": 900}
    (held,) = compared([make_row("onnxruntime-w4a4@5/best", **how, bits=(5.0, 4.5))])
    assert verdicts(held)["bits of weights"] == (True, 0.0)
    (missed,) = compared([make_row("onnxruntime-w4a4@5/best", **how, bits=(5.2, 6))])
    assert verdicts(missed)["bits of weights"] == (False, -0.2)
    assert verdicts(missed)["bits of activations"] == (False, -1.0)


def test_each_output_is_held_by_itself(make_row: MakeRow) -> None:
    rows = []
    for tool, noise in (("ort-minmax", (0.001, 0.001)), ("onnxruntime/fast", (0.002, 0.0001))):
        found = make_row(tool, right=None, network="ultraface_slim")
        both = Outcome(np.array([[part] * 1000 for part in noise]), found.result.outcome.agreeing)
        sqnr = tuple(both.sqnr(np.ones((2, 1000))))
        rows.append(replace(found, result=replace(found.result, outcome=both), sqnr=sqnr))
    assert verdicts(compared(rows)[1]) == {
        "SQNR of output 1": (False, -3.01), "SQNR of output 2": (True, 10.0),
        "agreement": (True, 0.0),
    }  # fmt: skip


def test_networks_without_labels_have_no_top_1(make_row: MakeRow) -> None:
    rows = [make_row("nncf", right=None), make_row("onnxruntime/balanced", right=None)]
    _, mine = compared(rows)
    assert (mine.top_1, mine.change, mine.p_float) == (None, None, None)
    assert set(verdicts(mine)) == {"SQNR", "agreement"}


@pytest.mark.parametrize(("real", "expected"), [(88.0, 85.0), (85.0, 85.0), (80.0, 77.0)])
def test_a_bar_that_float_cannot_reach_keeps_its_distance(real: float, expected: float) -> None:
    bar = Bar(("best",), top_1=85.0, float_top_1=88.0)
    assert least_top_1(bar, real) == pytest.approx(expected)


def test_a_distance_of_just_the_bar_holds():
    """12 of 4,000 samples are 0.3 points, though 75.4 - 75.1 is a little more in floats."""
    distance = 75.4 - 75.1
    assert distance > 0.3
    assert at_most("distance of top-1", distance, 0.3).holds
    assert at_least("top-1", 75.4 - distance, 75.1).holds
    assert not at_most("distance of top-1", distance + 0.025, 0.3).holds
