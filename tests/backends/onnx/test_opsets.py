"""The table of lowest opsets, against onnx's own schemas and runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from quantable.adapters.onnxruntime import OrtModel
from quantable.backends.onnx import emit, opsets
from quantable.ir import (
    ContentRef,
    Granularity,
    Graph,
    Operation,
    QuantizationPolicy,
    TensorQuantizationConfig,
    UnsupportedError,
)
from quantable.reference import ReferenceRuntime

PlainGraph = Callable[..., Graph]
RNG = np.random.default_rng(3)
AXES = np.array([-1], np.int64)


@pytest.mark.parametrize("kind", sorted(opsets._SAME_MEANING_SINCE))
def test_table_names_versions_that_exist(kind: str) -> None:
    since = opsets._SAME_MEANING_SINCE[kind]
    assert onnx.defs.get_schema(kind, max(since, 7)).since_version <= max(since, 7)
    assert since <= onnx.defs.get_schema(kind, 21).since_version


SHAPES = {"reduce-mean": (3, 1), "reduce-sum": (3, 1), "pad": (3, 6), "pad-axes": (3, 6),
          "reshape-default": (2, 6), "reshape-zero": (2, 6), "linear": (3, 5),
          "linear-without-bias": (3, 5)}  # fmt: skip
"""Of y where it is not that of x."""

CASES: dict[str, tuple[Operation, dict[str, np.ndarray], int, list[str]]] = {
    "reduce-mean": (
        Operation("o", "ReduceMean", ("x", "axes"), ("y",)), {"axes": AXES}, 13, ["ReduceMean"],
    ),
    "reduce-sum": (
        Operation("o", "ReduceSum", ("x", "axes"), ("y",)), {"axes": AXES}, 13, ["ReduceSum"],
    ),
    "gelu": (
        Operation("o", "Gelu", ("x",), ("y",)), {}, 10, ["Div", "Erf", "Add", "Mul", "Mul"],
    ),
    "gelu-none": (
        Operation("o", "Gelu", ("x",), ("y",), {"approximate": "none"}), {}, 10,
        ["Div", "Erf", "Add", "Mul", "Mul"],
    ),
    "gelu-tanh": (
        Operation("o", "Gelu", ("x",), ("y",), {"approximate": "tanh"}), {}, 20, ["Gelu"],
    ),
    "layer-normalization": (
        Operation("o", "LayerNormalization", ("x", "scale"), ("y",)),
        {"scale": np.ones(4, np.float32)}, 17, ["LayerNormalization"],
    ),
    "softmax": (Operation("o", "Softmax", ("x",), ("y",)), {}, 13, ["Softmax"]),
    "pad": (
        Operation("o", "Pad", ("x", "pads"), ("y",)),
        {"pads": np.array([0, 1, 0, 1], np.int64)}, 11, ["Pad"],
    ),
    "pad-axes": (
        Operation("o", "Pad", ("x", "pads", "", "axes"), ("y",)),
        {"pads": np.array([1, 1], np.int64), "axes": AXES}, 18, ["Pad"],
    ),
    "reshape-default": (
        Operation("o", "Reshape", ("x", "shape"), ("y",), {"allowzero": 0}),
        {"shape": np.array([2, 6], np.int64)}, 10, ["Reshape"],
    ),
    "reshape-zero": (
        Operation("o", "Reshape", ("x", "shape"), ("y",), {"allowzero": 1}),
        {"shape": np.array([2, 6], np.int64)}, 14, ["Reshape"],
    ),
    "linear": (
        Operation("o", "quantable.Linear", ("x", "w", "b"), ("y",)),
        {"w": RNG.normal(size=(4, 5)).astype(np.float32), "b": np.ones(5, np.float32)}, 10,
        ["Gemm"],
    ),
    "linear-without-bias": (  # was written at 10, whose Gemm has three inputs
        Operation("o", "quantable.Linear", ("x", "w"), ("y",)),
        {"w": RNG.normal(size=(4, 5)).astype(np.float32)}, 11, ["Gemm"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(CASES))
def test_operation_is_written_in_the_form_of_its_opset(
    case: str, plain_graph: PlainGraph, tmp_path: Path
) -> None:
    operation, parameters, opset, kinds = CASES[case]
    graph = plain_graph([operation], {"x": (3, 4)}, {"y": SHAPES.get(case, (3, 4))}, parameters)
    manifest = emit(graph, tmp_path)
    assert manifest["opset"] == opset
    model = onnx.load(tmp_path / "model.onnx")
    assert [node.op_type for node in model.graph.node] == kinds
    inputs = {"x": RNG.normal(size=(3, 4)).astype(np.float32)}
    expected = ReferenceRuntime(graph).run(inputs)["y"]
    found = OrtModel(tmp_path / "model.onnx").run(inputs)["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_gelu_is_native_where_the_opset_is_high_anyway(
    plain_graph: PlainGraph, tmp_path: Path
) -> None:
    operations = [
        Operation("a", "Gelu", ("x",), ("g",), {"approximate": "tanh"}),
        Operation("b", "Gelu", ("g",), ("y",)),
    ]
    graph = plain_graph(operations, {"x": (3, 4)}, {"y": (3, 4)}, {})
    assert emit(graph, tmp_path)["opset"] == 20
    nodes = onnx.load(tmp_path / "model.onnx").graph.node
    assert [node.op_type for node in nodes] == ["Gelu", "Gelu"]


@pytest.mark.parametrize(("dilations", "opset"), [((1, 1), 10), ((1, 2), 19)])
def test_dilations_of_one_say_nothing(
    plain_graph: PlainGraph, tmp_path: Path, dilations: tuple[int, int], opset: int
) -> None:
    attributes = {"kernel_shape": (2, 2), "dilations": dilations}
    pool = Operation("o", "AveragePool", ("x",), ("y",), attributes)
    shape = (1, 2, 4, 5 - dilations[1])
    graph = plain_graph([pool], {"x": (1, 2, 5, 5)}, {"y": shape}, {})
    assert emit(graph, tmp_path)["opset"] == opset


def test_linear_of_higher_rank_is_matmul_and_add(plain_graph: PlainGraph, tmp_path: Path) -> None:
    parameters = {"w": RNG.normal(size=(4, 5)).astype(np.float32), "b": np.ones(5, np.float32)}
    operation = Operation("o", "quantable.Linear", ("x", "w", "b"), ("y",), sources=("source",))
    graph = plain_graph([operation], {"x": ("N", 3, 4)}, {"y": ("N", 3, 5)}, parameters)
    emit(graph, tmp_path)
    nodes = onnx.load(tmp_path / "model.onnx").graph.node
    assert [(node.op_type, node.name) for node in nodes] == [("MatMul", "o.MatMul"), ("Add", "o")]
    inputs = {"x": RNG.normal(size=(2, 3, 4)).astype(np.float32)}
    expected = ReferenceRuntime(graph).run(inputs)["y"]
    found = OrtModel(tmp_path / "model.onnx").run(inputs)["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_equal_split_needs_no_sizes_before_18(plain_graph: PlainGraph, tmp_path: Path) -> None:
    def graph(extent: int, parts: tuple[int, int]) -> Graph:
        split = Operation("o", "Split", ("x",), ("a", "b"), {"axis": 1, "num_outputs": 2})
        shapes = {"a": (3, parts[0]), "b": (3, parts[1])}
        return plain_graph([split], {"x": (3, extent)}, shapes, {})

    assert emit(graph(4, (2, 2)), tmp_path / "even")["opset"] == 13
    assert emit(graph(5, (3, 2)), tmp_path / "uneven")["opset"] == 18


@pytest.mark.parametrize(
    ("low", "high", "per_channel", "is_parameter", "opset"),
    [
        (0, 255, False, False, 10),
        (0, 254, False, False, 11),
        (-127, 127, True, True, 13),
        (-(2**31), 2**31 - 1, False, True, 10),
        (-(2**15), 2**15 - 1, False, False, 21),
        (-8, 7, True, True, 21),
    ],
)
def test_quantizers_first_opset(
    low: int, high: int, per_channel: bool, is_parameter: bool, opset: int
) -> None:
    granularity = Granularity.PER_CHANNEL if per_channel else Granularity.PER_TENSOR
    config = TensorQuantizationConfig(
        QuantizationPolicy(granularity), 32, 0, low, high, channel_axis=0 if per_channel else None
    )
    assert opsets.quantizer_opset(config, is_parameter=is_parameter) == opset


def test_tensor_attributes_are_written(plain_graph: PlainGraph, tmp_path: Path) -> None:
    parameters = {"shape": np.array([2, 2], np.int64)}
    operations = [
        Operation("o", "ConstantOfShape", ("shape",), ("c",)),
        Operation("a", "Add", ("x", "c"), ("y",)),
    ]
    graph = plain_graph(operations, {"x": (2, 2)}, {"y": (2, 2)}, parameters)
    value: ContentRef = graph.store.put(np.array([2.5], np.float32))
    filled = Operation("o", "ConstantOfShape", ("shape",), ("c",), {"value": value})
    emit(graph.with_operation(filled), tmp_path)
    found = OrtModel(tmp_path / "model.onnx").run({"x": np.zeros((2, 2), np.float32)})["y"]
    np.testing.assert_array_equal(found, np.full((2, 2), 2.5, np.float32))


def test_unknown_operations_are_listed_together(plain_graph: PlainGraph, tmp_path: Path) -> None:
    operations = [
        Operation("a", "Wobble", ("x",), ("m",)),
        Operation("b", "int.Add", ("m",), ("y",), sources=("origin",)),
    ]
    graph = plain_graph(operations, {"x": (2, 2)}, {"y": (2, 2)}, {})
    with pytest.raises(UnsupportedError, match=r"'a' \(Wobble\).*'b' \(int.Add from origin\)"):
        emit(graph, tmp_path)
