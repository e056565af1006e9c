"""Graphs inside nodes: what they read of the scopes around, old forms inside them, names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from quantable.backends.onnx.emit import emit
from quantable.frontend import import_model
from quantable.frontend.scopes import free_names
from quantable.ir import UnsupportedError
from quantable.passes.base import PassContext, run_passes
from quantable.passes.registry import GROUPS, pass_class
from quantable.reference import FloatExecutor, ReferenceRuntime
from quantable.schema import load, save

onnxruntime = pytest.importorskip("onnxruntime")

# Squeeze and Unsqueeze have their axes as attributes here, which opset 13 takes away.
BRANCHES = """<ir_version: 7, opset_import: ["": 11]>
net (float[2, 3] x, bool flag, bool deep) => (float[2, 3] y)
    <float[3] scale = {1, 2, 3}, float[1, 2, 3] held = {1, 2, 3, 4, 5, 6}>
{
    seen = Mul(x, scale)
    y = If(flag) <
        then_branch = then () => (float[2, 3] t) {
            low = If(deep) <
                then_branch = inner () => (float[2, 3] i) {
                    wide = Unsqueeze <axes = [0]> (seen)
                    sum = Add(wide, held)
                    i = Squeeze <axes = [0]> (sum)
                },
                else_branch = plain () => (float[2, 3] p) { p = Neg(x) }
            >
            t = Mul(low, scale)
        },
        else_branch = other () => (float[2, 3] e) { e = Identity(seen) }
    >
}"""
LOOP = """<ir_version: 7, opset_import: ["": 11]>
net (float[2] x, int64 count) => (float[2] last, float[N, 1, 2] all)
    <float[2] step = {0.5, -1}>
{
    go = Constant <value = bool {1}> ()
    last, all = Loop(count, go, x) <
        body = body (int64 i, bool c, float[2] s) => (bool n, float[2] out, float[1, 2] row) {
            n = Identity(c)
            moved = Add(s, step)
            out = Mul(moved, x)
            row = Unsqueeze <axes = [0]> (out)
        }
    >
}"""


def saved(text: str, folder: Path) -> Path:
    path = folder / "model.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    return path


def outputs(path: Path, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path.read_bytes())
    found: list[np.ndarray] = session.run(None, feeds)
    return found


def branches() -> list[dict[str, np.ndarray]]:
    x = np.random.default_rng(1).standard_normal((2, 3)).astype(np.float32)
    return [
        {"x": x, "flag": np.array(flag), "deep": np.array(deep)}
        for flag in (True, False)
        for deep in (True, False)
    ]


def loops() -> list[dict[str, np.ndarray]]:
    x = np.array([0.5, -2], np.float32)
    return [{"x": x, "count": np.array(count)} for count in (0, 1, 4)]


@pytest.mark.parametrize(("text", "feeds"), [(BRANCHES, branches()), (LOOP, loops())])
def test_regions_run_as_in_onnx_runtime_through_every_stage(
    text: str, feeds: list[dict[str, np.ndarray]], tmp_path: Path
) -> None:
    path = saved(text, tmp_path)
    graph = import_model(path)
    assert graph.opset == 21
    executor = FloatExecutor(graph.opset, graph.store)
    passes = [pass_class(name)() for name in GROUPS["canonicalize"]]
    canonical = run_passes(graph, passes, PassContext(executor=executor))
    save(canonical, tmp_path / "a.qir")
    emit(canonical, tmp_path / "out")
    for given in feeds:
        expected = outputs(path, given)
        for found in (
            *(ReferenceRuntime(g).run(given).values() for g in
              (graph, canonical, load(tmp_path / "a.qir"))),
            outputs(tmp_path / "out/model.onnx", given),
        ):  # fmt: skip
            for one, other in zip(found, expected, strict=True):
                assert one.shape == other.shape
                np.testing.assert_allclose(one, other, 1e-6, 1e-6)


def test_constants_of_the_scopes_around_are_parameters_inside(tmp_path: Path) -> None:
    (op,) = (op for op in import_model(saved(BRANCHES, tmp_path)).operations if op.regions)
    then = op.regions["then_branch"]
    # `held` is read by the graph in it alone; `seen` and `x` are computed, and so is `deep` given.
    assert {"scale", "held"} <= set(then.parameters)
    assert then.inputs == op.inputs[1:]
    assert set(then.inputs) == {"deep", "seen", "x"}
    assert op.captures == 3


def test_what_a_graph_reads_is_what_it_does_not_define() -> None:
    graph = onnx.parser.parse_model(BRANCHES).graph
    (node,) = (node for node in graph.node if node.op_type == "If")
    assert free_names(node.attribute[0].g) == ["deep", "seen", "held", "x", "scale"]
    assert free_names(graph) == []


def test_old_slopes_belong_to_channels(tmp_path: Path) -> None:
    text = """<ir_version: 3, opset_import: ["": 6]>
    net (float[1, 2, 3] x) => (float[1, 2, 3] y) <float[2] slope = {0.5, 2}> {
        y = PRelu(x, slope)
    }"""
    graph = import_model(saved(text, tmp_path))
    x = np.array([[[-1, 2, -3], [-4, 5, -6]]], np.float32)
    found = ReferenceRuntime(graph).run({"x": x})["y"]
    assert found.tolist() == [[[-0.5, 2, -1.5], [-8, 5, -12]]]


def test_a_scan_over_batches_is_refused(tmp_path: Path) -> None:
    text = """<ir_version: 3, opset_import: ["": 8]>
    net (float[1, 2] s, float[1, 3, 2] x) => (float[1, 2] last, float[1, 3, 2] all) {
        last, all = Scan <num_scan_inputs = 1, body = b (float[2] a, float[2] n) => (
            float[2] t, float[2] o) { t = Add(a, n) o = Identity(t) }> (, s, x)
    }"""
    with pytest.raises(UnsupportedError, match="expected opset 9 or later") as caught:
        import_model(saved(text, tmp_path))
    assert caught.value.help
