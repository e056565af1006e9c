"""Ratios, bars and the page of latencies."""

from __future__ import annotations

from typing import Any

from quantable.bench.latencies.builds import NETWORKS
from quantable.bench.latencies.page import BARS, misses, page, ratio


def _row(network: str, threads: int, runtime: str, milliseconds: float) -> dict[str, Any]:
    return {
        "network": network, "threads": threads, "runtime": runtime, "runs": 9,
        "milliseconds": milliseconds, "best": milliseconds / 2, "of_peak": 0.5,
    }  # fmt: skip


ROWS = [
    _row("resnet50", 1, "quantable", 10.0), _row("resnet50", 1, "ONNX Runtime, QDQ", 10.6),
    _row("resnet50", 1, "OpenVINO, NNCF", 20.0), _row("resnet50", 2, "quantable", 5.5),
    _row("resnet50", 2, "ONNX Runtime, QDQ", 5.5), _row("vit_tiny", 1, "quantable", 3.0),
]  # fmt: skip


def test_every_network_has_a_bar() -> None:
    assert set(BARS) == set(NETWORKS)


def test_the_best_peer_counts() -> None:
    assert ratio(ROWS[:3]) == 1.06
    assert ratio(ROWS[:1]) is None


def test_what_misses_a_bar_is_named() -> None:
    assert misses(ROWS) == []
    slower = [{**row, "milliseconds": row["milliseconds"] * 1.02} if row["runtime"] == "quantable"
              else row for row in ROWS]  # fmt: skip
    assert misses(slower) == ["resnet50, 1 threads: 1.04 of 1.05", "resnet50, 2 threads: 0.98 of 1"]
    alone = [_row("resnet50", 1, "quantable", 10.0), _row("resnet50", 2, "quantable", 6.0)]
    assert misses(alone) == ["resnet50: 2 threads are 1.67 times as fast, of 1.8"]


def test_the_page_shows_what_was_not_measured() -> None:
    facts = {"machine": "m", "versions": {"numpy": "2"}, "rows": ROWS, "seconds": 2.0,
             "misses": ["net"]}  # fmt: skip
    text = page(facts)
    assert "| resnet50 | 10 | 10.6 | 20 | 50% | 1.06 | 1.06 | 1.05 |\n" in text
    assert "| vit_tiny | 3 | - | - | 50% | - | - | 1.3 |\n" in text
    assert "## Threads: 2" in text
    assert text.endswith("- missed: net\n")
