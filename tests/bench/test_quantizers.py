"""Bars and page of the benchmark of time and memory."""

from __future__ import annotations

from quantable.bench import quantizers, quantizers_page
from quantable.bench.peers import PEERS
from quantable.bench.quantize_once import TOOLS, is_own


def _timed(tool: str, seconds: float, megabytes: float = 500) -> dict[str, object]:
    return {"network": "n", "tool": tool, "process_s": seconds, "work_s": seconds - 1,
            "cpu_s": seconds, "peak_mb": megabytes}  # fmt: skip


def test_bars_of_the_first_stages() -> None:
    peers = [_timed("nncf", 8), _timed("onnxruntime", 6)]
    good = [_timed("quantable", 6), _timed("second-target", 1.2), *peers]
    assert quantizers.misses(good) == []
    bad = [_timed("quantable", 7, 1200), _timed("second-target", 3), *peers]
    assert quantizers.misses(bad) == [
        "n: quantable process_s 7.00, the faster peer 6.00",
        "n: quantable work_s 6.00, the faster peer 5.00",
        "n: second target process_s 3.00 of 7.00",
        "n: second target work_s 2.00 of 6.00",
        "n: quantable peak memory 1200 MB of 1000",
    ]


def test_bars_of_the_efforts() -> None:
    peers = [_timed("nncf", 8), _timed("nncf-accurate", 20), _timed("onnxruntime", 6)]
    good = [_timed("onnxruntime/fast", 6, 1500), _timed("onnxruntime/balanced", 20, 1500)]
    assert quantizers.misses([*good, _timed("onnxruntime/best", 500, 1500), *peers]) == []
    bad = [_timed("onnxruntime/fast", 7), _timed("onnxruntime/balanced", 21)]
    assert quantizers.misses([*bad, _timed("onnxruntime/best", 500, 1501), *peers]) == [
        "n: onnxruntime/fast process_s 7.00, the faster peer 6.00",
        "n: onnxruntime/fast work_s 6.00, the faster peer 5.00",
        "n: onnxruntime/balanced process_s 21.00, NNCF with accurate bias correction 20.00",
        "n: onnxruntime/balanced work_s 20.00, NNCF with accurate bias correction 19.00",
        "n: onnxruntime/best peak memory 1501 MB of 1500",
    ]


def test_without_peers_only_memory_is_judged() -> None:
    rows = [_timed("onnxruntime/fast", 7), _timed("onnxruntime/balanced", 21, 2000)]
    assert quantizers.misses(rows) == ["n: onnxruntime/balanced peak memory 2000 MB of 1500"]


def test_tools_take_turns_and_the_second_target_follows_the_first() -> None:
    tools = ["quantable", "second-target", "nncf", "onnxruntime"]
    orders = [quantizers._rotated(tools, run) for run in range(3)]
    assert [order[0] for order in orders] == ["quantable", "nncf", "onnxruntime"]
    for order in orders:
        assert sorted(order) == sorted(tools)
        assert order.index("second-target") == order.index("quantable") + 1


def test_every_tool_can_be_run() -> None:
    assert all(tool in TOOLS or tool in PEERS or "/" in tool for tool in quantizers.TOOLS)
    own = [tool for tool in quantizers.TOOLS if is_own(tool)]
    assert own == ["quantable", "second-target", *(f"onnxruntime/{e}" for e in _EFFORTS)]


_EFFORTS = ("fast", "balanced", "best")


def test_page_lists_misses() -> None:
    facts = {"machine": "a processor", "versions": {"python": "3"}, "runs": 3,
             "rows": [_timed("quantable", 6)], "misses": ["n: work_s"]}  # fmt: skip
    text = quantizers_page.page(facts)
    assert "| n | quantable | 6.00 | 5.00 | 6.00 | 500 |" in text
    assert "- missed: n: work_s" in text
