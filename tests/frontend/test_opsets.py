"""Opsets 7 to the newest: one network written at each, against ONNX Runtime; the node tests."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from quantable.frontend import import_model
from quantable.ir import DType, Graph
from quantable.passes.base import PassContext, run_passes
from quantable.passes.canonicalize.shapes.inference import SHAPE_FUNCTIONS, infer
from quantable.passes.registry import GROUPS, pass_class
from quantable.reference import FloatExecutor, ReferenceRuntime

NEWEST = onnx.defs.onnx_opset_version()
NEWEST_OF_RUNTIME = 26


def _ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def _list_operand(
    kind: str, x: str, y: str, values: tuple[int, ...], as_input: bool, name: str, **rest: Any
) -> tuple[onnx.NodeProto, dict[str, np.ndarray]]:
    """Make a node whose list of integers is an attribute in old opsets and an input in new ones."""
    if as_input:
        return helper.make_node(kind, [x, f"{y}_{name}"], [y], **rest), {
            f"{y}_{name}": _ints(*values)
        }
    return helper.make_node(kind, [x], [y], **{name: list(values)}, **rest), {}


def _network(opset: int) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """Write a network in the form that each operation has in an opset."""
    rng = np.random.default_rng(1)
    held = {
        "w": rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "g": rng.random(4).astype(np.float32) + 0.5,
        "h": rng.standard_normal(4).astype(np.float32),
        "v": rng.random(4).astype(np.float32) + 0.5,
        "fc": rng.standard_normal((5, 36)).astype(np.float32),
        "fb": rng.standard_normal(5).astype(np.float32),
    }
    pad, pads = _list_operand("Pad", "x", "p", (0, 0, 1, 1, 0, 0, 1, 1), opset >= 11, "pads")
    unsq, axes = _list_operand("Unsqueeze", "f", "u", (1,), opset >= 13, "axes")
    sq, sq_axes = _list_operand("Squeeze", "u", "q", (1,), opset >= 13, "axes")
    total, sum_axes = _list_operand("ReduceSum", "q", "t", (1,), opset >= 13, "axes", keepdims=1)
    clip = helper.make_node("Clip", ["b"], ["c"], min=0.0, max=6.0)
    if opset >= 11:
        clip = helper.make_node("Clip", ["b", "low", "high"], ["c"])
        held |= {"low": np.float32(0).reshape(()), "high": np.float32(6).reshape(())}
    held |= {**pads, **axes, **sq_axes, **sum_axes}
    nodes = [
        pad,
        helper.make_node("Conv", ["p", "w"], ["a"], "conv", kernel_shape=[3, 3]),
        helper.make_node("BatchNormalization", ["a", "g", "h", "h", "v"], ["b"], "norm"),
        clip,
        *_upsample(opset, held),
        helper.make_node("AveragePool", ["up"], ["o"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Flatten", ["o"], ["f"]),
        unsq, sq, total,
        helper.make_node("Gemm", ["q", "fc", "fb"], ["l"], "fc", transB=1),
        helper.make_node("Softmax", ["l"], ["s"], "soft", axis=1),
        helper.make_node("Add", ["s", "t"], ["e"]),
        helper.make_node("Identity", ["e"], ["y"]),
    ]  # fmt: skip
    return nodes, held


def _upsample(opset: int, held: dict[str, np.ndarray]) -> list[onnx.NodeProto]:
    scales = np.array([1, 1, 2, 2], np.float32)
    if opset < 9:
        return [helper.make_node("Upsample", ["c"], ["up"], mode="nearest", scales=scales)]
    held["scales"] = scales
    if opset == 9:
        return [helper.make_node("Upsample", ["c", "scales"], ["up"], mode="nearest")]
    if opset == 10:
        return [helper.make_node("Resize", ["c", "scales"], ["up"], mode="nearest")]
    inputs = ["c", "", "scales"]
    if opset < 13:
        held["roi"] = np.zeros(8, np.float32)
        inputs = ["c", "roi", "scales"]
    return [
        helper.make_node(
            "Resize", inputs, ["up"], mode="nearest", nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )
    ]  # fmt: skip


def _canonical(graph: Graph) -> Graph:
    passes = [pass_class(name)() for name in GROUPS["canonicalize"]]
    return run_passes(graph, passes, PassContext(executor=FloatExecutor(graph.opset)))


@pytest.mark.parametrize("opset", range(7, NEWEST + 1))
def test_opset(opset: int, save: Callable[..., Path]) -> None:
    nodes, held = _network(opset)
    path = save(nodes, held, opset=opset, shape=("N", 3, 6, 6))
    graph = import_model(path)
    assert graph.opset == max(opset, 21)
    canonical = _canonical(graph)
    x = np.random.default_rng(2).standard_normal((2, 3, 6, 6)).astype(np.float32)
    source = path if opset <= NEWEST_OF_RUNTIME else save(
        *_network(21), opset=21, shape=("N", 3, 6, 6), name="same.onnx"
    )  # fmt: skip
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    (expected,) = session.run(["y"], {"x": x})
    for level in (graph, canonical):
        found = ReferenceRuntime(level).run({"x": x})["y"]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    names = {op.name for op in graph.operations}
    assert {"conv", "norm", "fc", "soft"} <= names
    assert "Resize" in {op.kind for op in canonical.operations}


def _node_tests() -> Iterator[tuple[str, onnx.ModelProto, list[Any], list[Any]]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnx's own cases overflow on purpose
        from onnx.backend.test.case.node import collect_testcases

        cases = collect_testcases(None)
    for case in cases:
        inputs, outputs = case.data_sets[0]
        nodes = case.model.graph.node
        is_array = all(isinstance(item, (np.ndarray, np.generic)) for item in (*inputs, *outputs))
        if len(nodes) == 1 and nodes[0].op_type in SHAPE_FUNCTIONS and is_array:
            yield case.name, case.model, inputs, outputs


def _with_constants(model: onnx.ModelProto, inputs: list[Any]) -> onnx.ModelProto:
    """Make every input but the first an initializer, so that shapes follow from the model."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value, array in list(zip(model.graph.input, inputs, strict=True))[1:]:
        copy.graph.initializer.append(numpy_helper.from_array(np.asarray(array), value.name))
    return copy


def _forgotten(graph: Graph) -> Graph:
    """Drop what onnx inferred."""
    given = {*graph.inputs, *graph.parameters}
    values = {n: v if n in given else replace(v, shape=None) for n, v in graph.values.items()}
    return replace(graph, values=values)


@pytest.mark.slow
def test_shapes_equal_those_of_the_onnx_node_tests(tmp_path: Path) -> None:
    checked, wrong = 0, []
    for name, model, inputs, outputs in _node_tests():
        if not 7 <= model.opset_import[0].version <= NEWEST or _is_refused(model):
            continue
        path = tmp_path / "node.onnx"
        onnx.save(_with_constants(model, inputs), path)
        graph = infer(_forgotten(import_model(path))).graph
        for value, expected in zip(graph.outputs, outputs, strict=True):
            found = graph.values[value]
            shape = found.shape or ()
            fits = len(shape) == np.ndim(expected) and all(
                isinstance(dim, str) or dim == size
                for dim, size in zip(shape, np.shape(expected), strict=True)
            )
            checked += 1
            if not fits or found.dtype is not DType.of(np.asarray(expected).dtype):
                wrong.append((name, found, np.shape(expected)))
    assert not wrong
    assert checked > 600


def _is_refused(model: onnx.ModelProto) -> bool:
    """Whether the frontend says no: training mode, or element types that the IR does not have."""
    node = model.graph.node[0]
    training = any(item.name == "training_mode" and item.i for item in node.attribute)
    known = (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13)
    types = [v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)]
    return (training and node.op_type == "BatchNormalization") or not set(types) <= set(known)


@pytest.mark.parametrize("mode", ["edge", "reflect"])
def test_an_old_pad_may_have_a_value_that_nobody_reads(tmp_path: Path, mode: str) -> None:
    node = helper.make_node("Pad", ["x"], ["y"], pads=[1, 1], mode=mode, value=2.5)
    inputs = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [3])]
    outputs = [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [5])]
    graph = helper.make_graph([node], "g", inputs, outputs)
    opsets = [helper.make_opsetid("", 10)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=5), tmp_path / "m.onnx")
    x = np.float32([1, 2, 3])
    found = ReferenceRuntime(import_model(tmp_path / "m.onnx")).run({"x": x})["y"]
    np.testing.assert_array_equal(found, np.pad(x, 1, mode=mode))
