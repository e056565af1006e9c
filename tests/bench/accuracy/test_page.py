"""The page says what was measured, what holds, and what is missing."""

from __future__ import annotations

from dataclasses import replace

from quantable.bench.accuracy.page import page
from quantable.bench.accuracy.rows import compared
from quantable.bench.accuracy.suites import Case
from tests.bench.accuracy.conftest import MakeRow


def test_rows_bars_and_tests_are_shown(make_row: MakeRow) -> None:
    rows = compared(
        [
            make_row("nncf", noise=0.001, right=735),
            make_row("onnxruntime/balanced", noise=0.0005, agreeing=980, bits=(8, 8)),
        ]
    )
    text = page(rows, [], {"numpy": "2"})
    lines = text.splitlines()
    assert "**2 of 3 bars hold.**" in lines
    assert "| w8a8 | resnet8 | onnxruntime/balanced | agreement | 98.00 | ≥ 99.00 | 1.00 |" in lines
    peer, mine = (line for line in lines if line.startswith("| resnet8 | 1000"))
    assert peer == (
        "| resnet8 | 1000 | nncf | 75.00 | 73.50 | -1.50 | **<0.001** | 99.00 | 30.00 |  |  | "
        "1.2 | 2.5 | 100 |  |"
    )
    assert "| 75.00 | +0.00 | 1.000 | 98.00 | 33.01 | nncf: **+3.01 [+3.01, +3.01]** dB; " in mine
    assert mine.endswith("| 8 / 8 | 1.2 | 2.5 | 100 | misses agreement ≥ 99.00 by 1.00 |")
    assert "published: esp-ppq with LSQ | 75.48 | 75.66 | +0.18 |  | 96.68 | 29.40 |" in text
    assert "Top-1 against float: 1 of 2 rows differ: w8a8 resnet8 nncf -1.50" in text
    assert "- SQNR of ours against the best peer: 1 of 1 outputs are better, 0 worse." in lines
    assert "- resnet8: CIFAR-10, raw pixels" in lines
    assert "†" not in text
    assert "Not measured" not in text


def test_a_bar_that_holds_says_by_how_much(make_row: MakeRow) -> None:
    rows = compared([make_row("nncf"), make_row("onnxruntime/best", noise=0.0001, agreeing=995)])
    (mine,) = (line for line in page(rows, [], {}).splitlines() if "onnxruntime/best |" in line)
    assert mine.endswith(
        "| holds SQNR ≥ 32.00 (+8.00), agreement ≥ 99.00 (+0.50), "
        "change beyond noise ≥ 0.00 (+0.00) |"
    )


def test_missing_cases_and_stale_rows_are_named(make_row: MakeRow) -> None:
    stale = replace(make_row("onnxruntime/fast"), is_stale=True)
    missing = [
        Case("w8a8", "resnet20", "nncf"),
        Case("mixed", "mobilenetv2_keras", "onnxruntime-w4a4@5/best"),
    ]
    text = page(compared([stale]), missing, {})
    assert "| onnxruntime/fast† |" in text
    assert "were measured with other sources" in text
    assert "- w8a8, nncf: resnet20" in text
    assert "- mixed, onnxruntime-w4a4@5/best: every network" in text
