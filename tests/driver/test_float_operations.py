"""Operations without a rule: float on the host where a target is mixed, refused where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from quantable.driver import api
from quantable.driver.compile import Calibration, compile_model
from quantable.driver.validate import validate
from quantable.ir import UnsupportedError
from quantable.schema import load

TEXT = """<ir_version: 10, opset_import: ["": 21]>
net (float[1, 3, 8, 8] x) => (float[1, 5] y) {
    a = Conv <pads = [1, 1, 1, 1]> (x, w, b)
    r = Relu(a)
    g = GridSample <mode = "linear"> (r, grid)
    f = Reshape(g, steps)
    h, last, cell = LSTM <hidden_size = 6> (f, lw, lr, lb)
    parts = SplitToSequence <axis = 0> (h)
    joined = ConcatFromSequence <axis = 0> (parts)
    top = ReduceMax <keepdims = 0> (joined)
    flag = Greater(top, zero)
    chosen = If(flag) <
        then_branch = small () => (float[8, 1, 1, 6] t) { t = Mul(joined, half) },
        else_branch = other () => (float[8, 1, 1, 6] e) { e = Neg(joined) }
    >
    q = Reshape(chosen, row)
    y = Gemm(q, fw, fb)
}"""
FLOAT = {
    "GridSample",
    "LSTM",
    "SplitToSequence",
    "ConcatFromSequence",
    "ReduceMax",
    "Greater",
    "If",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with a recurrence, a sequence and branches between two layers."""
    rng = np.random.default_rng(3)

    def normal(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)

    held: dict[str, np.ndarray[Any, Any]] = {
        "w": normal(4, 3, 3, 3), "b": normal(4), "lw": normal(1, 24, 32), "lr": normal(1, 24, 6),
        "lb": normal(1, 48), "fw": normal(48, 5), "fb": normal(5),
        "grid": (rng.random((1, 8, 8, 2)) * 2 - 1).astype(np.float32),
        "steps": np.array([8, 1, 32]), "row": np.array([1, 48]),
        "zero": np.array(0, np.float32), "half": np.array(0.5, np.float32),
    }  # fmt: skip
    made = onnx.parser.parse_model(TEXT)
    made.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in held.items())
    path = tmp_path_factory.mktemp("model") / "net.onnx"
    onnx.save(made, path)
    return path


def samples(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    return [rng.standard_normal((1, 3, 8, 8)).astype(np.float32) for _ in range(count)]


def test_a_mixed_target_leaves_them_float_and_the_report_says_so(
    model: Path, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime", reason="the emitted file runs in ONNX Runtime")
    made = compile_model(
        model, tmp_path, target="onnxruntime",
        calibration=Calibration(data=[{"x": x} for x in samples(8)]),
    )  # fmt: skip
    listed = {entry["kind"]: entry["reason"] for entry in made.facts["float_operations"]}
    assert set(listed) >= FLOAT
    # What makes shapes, indices, conditions or sequences says that; the rest has no rule.
    assert "no rule for LSTM" in listed["LSTM"]
    assert all(listed[kind] for kind in FLOAT)
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "no rule for LSTM" in page
    np.savez(tmp_path / "test.npz", x=np.concatenate(samples(6)))
    claims = validate(tmp_path, tmp_path / "test.npz", api.Preprocessing(), samples=6)
    assert claims
    assert [claim for claim in claims if not claim.held] == []


def test_stages_with_regions_are_printed_read_and_replayed(model: Path, tmp_path: Path) -> None:
    from quantable.text.parser import parse_graph
    from quantable.text.printer import print_graph

    made = compile_model(
        model, tmp_path, target="onnxruntime",
        calibration=Calibration(data=[{"x": x} for x in samples(2)]),
    )  # fmt: skip
    for name, graph in made.graphs:
        assert load(tmp_path / name) == graph
        assert parse_graph(print_graph(graph, history=True), store=graph.store) == graph


class Unread(list[dict[str, np.ndarray]]):
    """Samples that nobody may look at."""

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        raise AssertionError("data was read")


def test_an_integer_target_refuses_them_before_any_data_is_read(
    model: Path, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedError) as caught:
        compile_model(
            model, tmp_path, target="c-portable", calibration=Calibration(data=Unread()),
        )  # fmt: skip
    text = str(caught.value)
    for kind in ("LSTM", "GridSample", "If", "SplitToSequence"):
        assert f"({kind}" in text
    assert "help:" in text
    assert "no rule for LSTM" in text
