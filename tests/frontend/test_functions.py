"""Local functions: attributes by reference, defaults, functions in functions and in graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from quantable.frontend import import_model
from quantable.reference import ReferenceRuntime

HEADER = '<ir_version: 10, opset_import: ["": 21, "local": 1]>'
LEAKY = """
<domain: "local", opset_import: ["": 21]>
Leaky <slope: float = 0.25, axis> (v) => (r) {
    sum = LeakyRelu <alpha: float = @slope> (v)
    r = Softmax <axis: int = @axis> (sum)
}"""

NETWORKS = {
    "attributes by reference and by default": (
        """net (float[N, 4] x) => (float[N, 4] y) {
            a = local.Leaky <axis = 1> (x)
            y = local.Leaky <axis = 0, slope = 0.5> (a)
        }""" + LEAKY
    ),
    "a function calls another with its own attribute": (
        """net (float[N, 4] x) => (float[N, 4] y) { y = local.Twice <by = 0.125> (x) }
        <domain: "local", opset_import: ["": 21, "local": 1]>
        Twice <by> (v) => (w) {
            u = local.Leaky <slope: float = @by, axis = 1> (v)
            w = local.Leaky <slope: float = @by, axis = -1> (u)
        }""" + LEAKY
    ),
    "a function has branches that read its input": (
        """net (float[N, 4] x) => (float[N, 4] y) { y = local.Choose <alpha = 2.0> (x) }
        <domain: "local", opset_import: ["": 21]>
        Choose <alpha> (v) => (w) {
            zero = Constant <value_float = 0.0> ()
            s = ReduceSum <keepdims = 0> (v)
            flag = Greater(s, zero)
            w = If(flag) <
                then_branch = a () => (float[N, 4] t) { t = Elu <alpha: float = @alpha> (v) },
                else_branch = b () => (float[N, 4] e) { e = Neg(v) }
            >
        }"""
    ),
    "a branch calls a function": (
        """net (float[N, 4] x, bool flag) => (float[N, 4] y) {
            h = Neg(x)
            y = If(flag) <
                then_branch = a () => (float[N, 4] t) { t = local.Leaky <axis = 1> (h) },
                else_branch = b () => (float[N, 4] e) { e = Identity(h) }
            >
        }""" + LEAKY
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_local_function_is_what_it_writes(name: str, rows: int, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    path = tmp_path / "net.onnx"
    onnx.save(onnx.parser.parse_model(HEADER + NETWORKS[name]), path)
    x = np.random.default_rng(rows).standard_normal((rows, 4)).astype(np.float32)
    feeds = {"x": x, "flag": np.array(True)}
    graph = import_model(path)
    feeds = {n: a for n, a in feeds.items() if n in graph.inputs}
    (wanted,) = onnxruntime.InferenceSession(str(path)).run(None, feeds)
    np.testing.assert_allclose(ReferenceRuntime(graph).run(feeds)["y"], wanted, 1e-6, 1e-6)
