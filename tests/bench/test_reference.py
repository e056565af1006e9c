"""The benchmark of the reference, on a small network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from quantable.bench import reference
from quantable.bench.reference_page import page
from quantable.bench.zoo import rebatched

pytest.importorskip("onnxruntime")


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """A folder with one network whose shapes hold a batch of 1, in a constant and a weight."""
    shape = numpy_helper.from_array(np.array([1, 2, 8], np.int64))
    nodes = [
        helper.make_node("Constant", [], ["s"], value=shape),
        helper.make_node("Reshape", ["x", "s"], ["r"]),
        helper.make_node("Relu", ["r"], ["c"]),
        helper.make_node("Reshape", ["c", "t"], ["y"]),
    ]
    items = [
        helper.make_tensor_value_info("x", 1, [1, 4, 4]),
        helper.make_tensor_value_info("y", 1, [1, 16]),
    ]
    held = [numpy_helper.from_array(np.array([1, 16], np.int64), "t")]
    graph = helper.make_graph(nodes, "g", items[:1], items[1:], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "resnet50.onnx")
    return tmp_path


def test_a_network_takes_a_batch(zoo: Path) -> None:
    import onnxruntime

    path = rebatched(zoo / "resnet50.onnx", zoo / "out.onnx", 5)
    session = onnxruntime.InferenceSession(path)
    x = np.random.default_rng(0).standard_normal((5, 4, 4)).astype(np.float32)
    (found,) = session.run(None, {"x": x})
    np.testing.assert_array_equal(found, np.maximum(x, 0).reshape(5, 16))


def test_both_runtimes_are_measured(zoo: Path, capsys: Any) -> None:
    out = zoo / "page.md"
    words = ["--networks", "resnet50", "--zoo", str(zoo), "--runs", "3", "--output", str(out)]
    code = reference.main(words)
    facts = json.loads(capsys.readouterr().out)
    (row,) = facts["rows"]
    assert code == (row["wall_ratio"] > reference.BAR)
    assert row["largest_difference"] == 0
    assert all(number > 0 for number in (*row["wall_s"], *row["processor_s"], *row["peak_mb"]))
    assert out.read_text(encoding="utf-8") == page(facts)


def test_the_page_names_what_is_missed() -> None:
    row = {
        "network": "net", "largest_difference": 0.0, "wall_s": [2.0, 1.0], "wall_ratio": 2.0,
        "wall_best_ratio": 1.9, "processor_ratio": 1.0, "processor_best_ratio": 1.0,
        "peak_mb": [1, 2],
    }  # fmt: skip
    facts = {"machine": "m", "versions": {"torch": "2"}, "rows": [row], "batch": 8, "threads": 2,
             "runs": 3, "bar": 1.5}  # fmt: skip
    assert page(facts).endswith("- missed: net\n")
    assert "missed" not in page({**facts, "rows": [{**row, "wall_ratio": 1.4}]})


@pytest.mark.parametrize("busy", [3, 1000])
def test_a_run_waits_for_threads_that_still_compute(
    monkeypatch: pytest.MonkeyPatch, busy: int
) -> None:
    """They made the next run slower: ONNX Runtime's threads keep a core for 50 ms."""
    sleeps: list[float] = []
    monkeypatch.setattr(reference, "sleep", sleeps.append)
    monkeypatch.setattr(reference, "process_time", lambda: 0.02 * min(len(sleeps), busy))
    if busy == 3:
        reference.rest()
        assert len(sleeps) == 4
    else:
        with pytest.raises(TimeoutError, match="compute without an end"):
            reference.rest()
