"""Weights behind DequantizeLinear against ONNX Runtime, and folding without a runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantable.frontend import import_model
from quantable.ir import DType, Graph
from quantable.passes.base import PassContext, run_passes
from quantable.passes.canonicalize.fold_constants import FoldConstants
from quantable.passes.canonicalize.merge_linear import MergeLinear
from quantable.reference import FloatExecutor, ReferenceRuntime

TYPES = (TensorProto.INT4, TensorProto.UINT4, TensorProto.INT8, TensorProto.UINT8)
FORMS: dict[str, tuple[tuple[int, ...], dict[str, int]]] = {
    "tensor": ((), {}),
    "channel": ((6,), {"axis": 1}),
    "channel from the end": ((8,), {"axis": -2}),
    "block": ((2, 6), {"axis": 0, "block_size": 4}),
}


def _model(dtype: int, form: str) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    shape, attributes = FORMS[form]
    low = -8 if dtype in (TensorProto.INT4, TensorProto.INT8) else 0
    integers = [
        helper.make_tensor(name, dtype, dims, rng.integers(low, low + 16, size).tolist())
        for name, dims, size in (("q", (8, 6), 48), ("z", shape, int(np.prod(shape))))
    ]
    scale = numpy_helper.from_array(rng.random(shape or 1).astype(np.float32).reshape(shape), "s")
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], **attributes),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ("N", size))
        for name, size in (("x", 8), ("y", 6))
    ]
    graph = helper.make_graph(nodes, "weights", ends[:1], ends[1:], [*integers, scale])
    opset = helper.make_opsetid("", 21)
    return helper.make_model(graph, opset_imports=[opset], ir_version=10)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", TYPES, ids=TensorProto.DataType.Name)
def test_dequantized_weights(dtype: int, form: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.onnx"
    onnx.save(_model(dtype, form), path)
    context = PassContext(executor=FloatExecutor())
    graph = run_passes(import_model(path), [FoldConstants(), MergeLinear()], context)
    assert [op.kind for op in graph.operations] == ["quantable.Linear"]
    options = ort.SessionOptions()
    # Optimized, ONNX Runtime computes products with 4-bit weights less precisely.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32)
    (expected,) = session.run(None, {"x": x})
    found = ReferenceRuntime(graph).run({"x": x})["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_without_a_runtime_the_reason_is_noted(parse: Callable[[str], Graph]) -> None:
    graph = parse(
        """x: f32[N]; a: f32[] = 2
        b = Exp(a)
        y = Add(x, b)
        return y"""
    )
    context = PassContext()
    assert FoldConstants().run(graph, context) is graph
    assert context.remarks == [
        ("fold-constants", graph.operations[0].where(), "stays: no runtime was handed in")
    ]


def test_an_operation_that_the_runtime_does_not_have_stays(parse: Callable[[str], Graph]) -> None:
    graph = parse(
        """x: f32[N]; a: f32[] = 2
        b = Unheard(a)
        y = Add(x, b)
        return y"""
    )
    context = PassContext(executor=FloatExecutor())
    assert FoldConstants().run(graph, context) is graph
    assert "Unheard" in context.remarks[0][2]


def test_the_limit_is_an_option(parse: Callable[[str], Graph]) -> None:
    graph = parse(
        """x: f32[8]; t: i64[1] = [8]
        b = ConstantOfShape(t)
        y = Add(x, b)
        return y"""
    )
    context = PassContext(executor=FloatExecutor())
    assert FoldConstants(limit_bytes=31).run(graph, context) is graph
    folded = FoldConstants(limit_bytes=32).run(graph, context)
    assert folded.array("b").tolist() == [0.0] * 8


def test_what_moves_integers_of_4_bits_folds_to_integers_of_4_bits(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["q"], ["t"]),
        helper.make_node("Identity", ["x"], ["y"]),
    ]
    held = helper.make_tensor("q", TensorProto.INT4, (2, 3), [-8, 7, 1, 0, -1, 2])
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1,)) for n in ("x", "y")]
    made = helper.make_tensor_value_info("t", TensorProto.INT4, (3, 2))
    graph = helper.make_graph(nodes, "narrow", ends[:1], [ends[1], made], [held])
    opset = helper.make_opsetid("", 21)
    path = tmp_path / "narrow.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), path)
    folded = run_passes(
        import_model(path), [FoldConstants()], PassContext(executor=FloatExecutor())
    )
    assert folded.values["t"].dtype is DType.INT4
    assert folded.parameters["t"].dtype is DType.INT4
    assert folded.array("t").tolist() == [[-8, 0], [7, -1], [1, 2]]
