"""Scores, bars and pages of the benchmarks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from quantable.bench import accuracy, accuracy_page, quantizers, quantizers_page
from quantable.bench.datasets import NETWORKS
from quantable.bench.scores import Score


def test_score_adds_up_over_batches() -> None:
    real = np.array([[3.0, 0.0], [0.0, 4.0], [1.0, 0.0]], np.float32)
    found = np.array([[3.0, 0.0], [0.0, 3.5], [0.0, 1.0]], np.float32)
    labels = np.array([0, 0, 1])
    whole, parts = Score(), Score()
    whole.add([real], [found], labels)
    for part in (slice(0, 2), slice(2, 3)):
        parts.add([real[part]], [found[part]], labels[part])
    assert whole == parts
    assert whole.agreement == pytest.approx(200 / 3)
    assert whole.top_1 == pytest.approx(200 / 3)
    assert whole.sqnr == [pytest.approx(10 * math.log10(26 / 2.25))]


def test_equal_outputs_have_infinite_sqnr() -> None:
    score = Score()
    score.add([np.ones((1, 2), np.float32)], [np.ones((1, 2), np.float32)])
    assert score.sqnr == [math.inf]


@pytest.mark.parametrize(
    ("count", "right", "misses"),
    [
        (4000, 3000, []),
        (4000, 2979, ["top-1"]),
        (4000, 3021, ["top-1"]),
        (400, 297, []),
        (400, 295, ["top-1"]),
    ],
)
def test_allowed_change_depends_on_the_number_of_samples(
    count: int, right: int, misses: list[str]
) -> None:
    real = Score(count, count, count * 3 // 4, [1.0], [0.0])
    mine = Score(count, count - 1, right, [1.0], [0.1])
    peer = Score(count, count - 1, 0, [1.0], [0.1])
    assert accuracy._misses(NETWORKS["resnet8"], mine, real, peer, True) == misses


def test_every_bar_can_be_missed() -> None:
    real = Score(4000, 4000, 3000, [1.0], [0.0])
    mine = Score(4000, 3900, 2900, [1.0], [0.2])
    peer = Score(4000, 3901, 0, [1.0], [0.1])
    found = accuracy._misses(NETWORKS["resnet8"], mine, real, peer, True)
    assert found == ["agreement", "SQNR", "top-1"]


def test_accuracy_page_shows_what_was_missed() -> None:
    row = {"network": "resnet8", "tool": "x86-vnni", "samples": 4000, "sqnr_db": [27.31],
           "agreement": 95.5, "top_1_float": 75.1, "top_1": 74.0, "misses": ["top-1"]}  # fmt: skip
    boxes = {"network": "ultraface_slim", "tool": "onnxruntime", "samples": 12,
             "sqnr_db": [33.0, 44.25], "misses": []}  # fmt: skip
    text = accuracy_page.page([row, boxes])
    expected = (
        "| resnet8 | 4000 | x86-vnni | 75.10 | 74.00 | -1.10 | 95.50 | 27.31 | misses top-1 |"
    )
    assert expected in text.splitlines()
    assert "| 12 | onnxruntime |  |  |  |  | 33.00 / 44.25 | holds |" in text
    assert "- ultraface_slim: 6 photos" in text


def _timed(tool: str, seconds: float, megabytes: float = 500) -> dict[str, object]:
    return {"network": "n", "tool": tool, "process_s": seconds, "work_s": seconds - 1,
            "cpu_s": seconds, "peak_mb": megabytes}  # fmt: skip


def test_quantizer_bars() -> None:
    peers = [_timed("nncf", 8), _timed("onnxruntime", 6)]
    good = [_timed("quantable", 6), _timed("second-target", 1.2), *peers]
    assert quantizers.misses(good) == []
    bad = [_timed("quantable", 7, 1200), _timed("second-target", 3), *peers]
    assert quantizers.misses(bad) == [
        "n: process_s 7.00, the faster peer 6.00",
        "n: second target process_s 3.00 of 7.00",
        "n: work_s 6.00, the faster peer 5.00",
        "n: second target work_s 2.00 of 6.00",
        "n: peak memory 1200 MB",
    ]


def test_tools_take_turns_and_the_second_target_follows_the_first() -> None:
    tools = ["quantable", "second-target", "nncf", "onnxruntime"]
    orders = [quantizers._rotated(tools, run) for run in range(3)]
    assert [order[0] for order in orders] == ["quantable", "nncf", "onnxruntime"]
    for order in orders:
        assert sorted(order) == sorted(tools)
        assert order.index("second-target") == order.index("quantable") + 1


def test_benchmark_page_lists_misses() -> None:
    facts = {"machine": "a processor", "versions": {"python": "3"}, "runs": 3,
             "rows": [_timed("quantable", 6)], "misses": ["n: work_s"]}  # fmt: skip
    text = quantizers_page.page(facts)
    assert "| n | quantable | 6.00 | 5.00 | 6.00 | 500 |" in text
    assert "- missed: n: work_s" in text
