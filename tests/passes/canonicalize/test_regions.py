"""Passes on networks with graphs inside nodes: what only an inner graph reads stays alive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from quantable.driver import api
from quantable.frontend import import_model
from quantable.ir import Graph, verify
from quantable.reference import ReferenceRuntime

HEADER = '<ir_version: 10, opset_import: ["": 21]>'
X = np.random.default_rng(5).standard_normal((1, 4)).astype(np.float32)

NETWORKS = {
    # `hidden` is read inside the branches alone, `same` is a second form of it.
    "a branch reads what nobody else does": """net (float[1, 4] x) => (float[1, 4] y)
        <float two = {2}, float zero = {0}> {
        hidden = Mul(x, two)
        same = Mul(x, two)
        s = ReduceSum <keepdims = 0> (x)
        flag = Greater(s, zero)
        y = If(flag) <
            then_branch = a () => (float[1, 4] t) { t = Relu(hidden) },
            else_branch = b () => (float[1, 4] e) { e = Neg(same) }
        >
    }""",
    "a branch reads what folds to a constant": """net (float[1, 4] x) => (float[1, 4] y)
        <float two = {2}, float zero = {0}> {
        four = Mul(two, two)
        same = Identity(x)
        s = ReduceSum <keepdims = 0> (x)
        flag = Greater(s, zero)
        y = If(flag) <
            then_branch = a () => (float[1, 4] t) { t = Mul(same, four) },
            else_branch = b () => (float[1, 4] e) { e = Add(same, four) }
        >
    }""",
    "a loop in a branch reads both scopes": """net (float[1, 4] x) => (float[1, 4] y)
        <float two = {2}, float zero = {0}, int64 times = {3}, bool yes = {1}> {
        step = Div(x, two)
        s = ReduceSum <keepdims = 0> (x)
        flag = Greater(s, zero)
        y = If(flag) <
            then_branch = a () => (float[1, 4] t) {
                own = Abs(x)
                t = Loop(times, yes, x) <body = c (int64 i, bool on, float[1, 4] v) => (
                    bool still, float[1, 4] w) {
                    still = Identity(on)
                    sum = Add(v, step)
                    w = Mul(sum, own)
                }>
            },
            else_branch = b () => (float[1, 4] e) { e = Identity(step) }
        >
    }""",
    "a scan reads a value beside its own": """net (float[1, 4] x) => (float[1, 4] y, float[1, 4] z)
        <float two = {2}> {
        shift = Sub(x, two)
        first = Identity(x)
        y, z = Scan(shift, first) <num_scan_inputs = 1, body = c (float[1, 4] v, float[4] r) => (
            float[1, 4] w, float[4] o) {
            w = Add(v, shift)
            o = Mul(r, two)
        }>
    }""",
    "a name is taken in both scopes": """net (float[1, 4] x) => (float[1, 4] y)
        <float two = {2}, float zero = {0}> {
        t = Mul(x, two)
        s = ReduceSum <keepdims = 0> (x)
        flag = Less(s, zero)
        u = If(flag) <
            then_branch = a () => (float[1, 4] r) { k = Relu(t)  r = Neg(k) },
            else_branch = b () => (float[1, 4] e) { k = Abs(t)  e = Neg(k) }
        >
        k = Add(u, t)
        y = Sub(k, two)
    }""",
}  # fmt: skip


@pytest.fixture(params=NETWORKS, ids=lambda name: name.replace(" ", "-"))
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    onnx.save(onnx.parser.parse_model(HEADER + NETWORKS[request.param]), path)
    return path


def _results(graph: Graph, x: np.ndarray) -> list[np.ndarray]:
    return list(ReferenceRuntime(graph).run({"x": x}).values())


@pytest.mark.parametrize("sign", [1, -1])
def test_the_default_passes_keep_what_inner_graphs_read(model: Path, sign: int) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    x = np.asarray(sign * np.abs(X), np.float32)
    graph = import_model(model)
    wanted = onnxruntime.InferenceSession(str(model)).run(None, {"x": x})
    after = api.canonicalize(graph)
    verify(after, after="canonicalize")
    for found in (_results(graph, x), _results(after, x)):
        for mine, want in zip(found, wanted, strict=True):
            np.testing.assert_allclose(mine, want, 1e-6, 1e-6)


def test_they_are_quantized_and_emitted(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from quantable.adapters.onnxruntime import OrtModel

    graph = api.quantize_network(model, [{"x": X}, {"x": -X}], "onnxruntime")
    api.emit(graph, tmp_path / "build")
    loaded = OrtModel(tmp_path / "build" / "model.onnx")
    for x in (X, -X):
        for name, want in ReferenceRuntime(graph).run({"x": x}).items():
            np.testing.assert_allclose(loaded.run({"x": x})[name], want, 1e-5, 1e-6)
