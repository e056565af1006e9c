"""Operations of ONNX Runtime's optimizer become those of the standard, and mean the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from quantable.frontend import import_model
from quantable.ir import Graph, verify
from quantable.passes.base import PassContext, run_pass
from quantable.passes.canonicalize.unfuse_operations import UnfuseOperations
from quantable.reference import ReferenceRuntime

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(2)


def _normal(*shape: int) -> Array:
    return np.asarray(RNG.standard_normal(shape), np.float32)


X, WIDE, IMAGE = _normal(2, 5, 8), _normal(3, 4, 6), _normal(1, 4, 7, 6)
W, B = _normal(8, 24), _normal(24)
CASES: dict[str, tuple[str, list[Array | None], dict[str, Any], list[str]]] = {
    "gelu": ("Gelu", [X], {}, ["Gelu"]),
    "bias": ("BiasGelu", [X, B[:8]], {}, ["Add", "Gelu"]),
    "fast": ("FastGelu", [X], {}, ["Gelu"]),
    "fast-bias": ("FastGelu", [X, B[:8]], {}, ["Add", "Gelu"]),
    "quick": ("QuickGelu", [X], {"alpha": 1.5}, ["Mul", "Sigmoid", "Mul"]),
    "conv": ("FusedConv", [IMAGE, _normal(6, 2, 3, 3), B[:6]],
             {"group": 2, "pads": [1] * 4, "activation": "Relu"}, ["Conv", "Relu"]),
    "conv-sum": ("FusedConv", [IMAGE, _normal(6, 4, 3, 3), None, _normal(1, 6, 5, 4)],
                 {"activation": "Clip", "activation_params": [-1.0, 2.0]},
                 ["Conv", "Add", "Clip"]),
    "gemm": ("FusedGemm", [X[0], W, B], {"alpha": 0.5, "activation": "LeakyRelu",
             "activation_alpha": 0.3}, ["Gemm", "LeakyRelu"]),
    "matmul": ("FusedMatMul", [WIDE, _normal(3, 6, 4)], {"transA": 1, "transB": 1, "alpha": 0.5},
               ["Transpose", "Transpose", "MatMul", "Mul"]),
    "turned": ("TransposeMatMul", [WIDE, _normal(5, 6)], {"transB": 1}, ["Transpose", "MatMul"]),
    "skip": ("SkipLayerNormalization", [X, X[:1], B[:8], B[8:16], B[16:]], {"epsilon": 1e-5},
             ["Add", "Add", "LayerNormalization"]),
    "attention": ("Attention", [X, W, B], {"num_heads": 2},
                  ["MatMul", "Add", "Split", *["Reshape", "Transpose"] * 3, "MatMul", "Mul",
                   "Softmax", "MatMul", "Transpose", "Reshape"]),
    "attention-bias": ("Attention", [X, W, B, None, None, _normal(1, 2, 5, 5)],
                       {"num_heads": 2, "scale": 0.3},
                       ["MatMul", "Add", "Split", *["Reshape", "Transpose"] * 3, "MatMul", "Mul",
                        "Add", "Softmax", "MatMul", "Transpose", "Reshape"]),
    "heads": ("MultiHeadAttention", [X, _normal(2, 3, 8), _normal(2, 3, 4)], {"num_heads": 4},
              [*["Reshape", "Transpose"] * 3, "MatMul", "Mul", "Softmax", "MatMul", "Transpose",
               "Reshape"]),
}  # fmt: skip
STAY: dict[str, tuple[str, list[Array | None], dict[str, Any]]] = {
    "turned batches": ("FusedMatMul", [_normal(4, 3, 6), _normal(6, 3, 5)],
                       {"transBatchA": 1, "transBatchB": 1}),
    "causal": ("Attention", [X, W, B], {"num_heads": 2, "unidirectional": 1}),
    "mask": ("Attention", [X, W, B, np.int32([5, 3])], {"num_heads": 2}),
    "cache": ("MultiHeadAttention", [X, X, X, None, None, None, *[_normal(2, 2, 3, 4)] * 2],
              {"num_heads": 2}),
}  # fmt: skip


def _graph(folder: Path, kind: str, given: list[Array | None], attributes: dict[str, Any]) -> Graph:
    names = ["" if array is None else f"i{slot}" for slot, array in enumerate(given)]
    node = helper.make_node(kind, names, ["y"], "n", domain="com.microsoft", **attributes)
    held = {n: a for n, a in zip(names, given, strict=True) if a is not None and n != "i0"}
    first = given[0]
    assert first is not None
    sizes = ["N", *first.shape[1:]]
    inputs = [helper.make_tensor_value_info("i0", onnx.TensorProto.FLOAT, sizes)]
    output = onnx.ValueInfoProto(name="y")
    output.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    parameters = [numpy_helper.from_array(np.asarray(a), n) for n, a in held.items()]
    graph = helper.make_graph([node], "g", inputs, [output], parameters)
    opsets = [helper.make_opsetid("", 21)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), folder / "m.onnx")
    return import_model(folder / "m.onnx")


@pytest.mark.parametrize("name", CASES)
def test_it_becomes_operations_of_the_standard(name: str, tmp_path: Path) -> None:
    kind, given, attributes, expected = CASES[name]
    graph = _graph(tmp_path, kind, given, attributes)
    after = run_pass(graph, UnfuseOperations(), PassContext())
    verify(after, after="unfuse-operations")
    assert sorted(op.kind for op in after.operations) == sorted(expected)
    feeds = {"i0": given[0]}
    found, wanted = (ReferenceRuntime(g).run(feeds)["y"] for g in (after, graph))
    np.testing.assert_allclose(found, wanted, 1e-5, 1e-5)


@pytest.mark.parametrize("name", STAY)
def test_what_the_standard_does_not_say_stays_with_a_remark(name: str, tmp_path: Path) -> None:
    graph = _graph(tmp_path, *STAY[name])
    context = PassContext()
    assert UnfuseOperations().run(graph, context) is graph
    assert any("stays" in remark for _, _, remark in context.remarks)
