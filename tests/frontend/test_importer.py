"""What an imported graph looks like."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantable.frontend import import_model
from quantable.ir import DType, graph_digest
from quantable.passes.canonicalize.shapes.inference import infer

Save = Callable[..., Path]


def test_names_are_kept_exactly(save: Save) -> None:
    name = "/block.0/conv;StatefulPartitionedCall:0"
    nodes = [helper.make_node("Relu", ["x"], [name]), helper.make_node("Exp", [name], ["y"])]
    graph = import_model(save(nodes))
    assert graph.operations[0].outputs == (name,)
    assert graph.operations[0].name == name
    assert graph.operations[0].sources == (name,)


def test_node_names_are_made_unique(save: Save) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="n"),
        helper.make_node("Exp", ["a"], ["y"], name="n"),
    ]
    graph = import_model(save(nodes))
    assert [op.name for op in graph.operations] == ["n", "n.1"]
    assert [op.sources for op in graph.operations] == [("n",), ("n",)]


def test_dimensions(save: Save) -> None:
    graph = import_model(save([helper.make_node("Relu", ["x"], ["y"])], shape=("batch", None, 3)))
    assert graph.shape("x") == ("batch", "?1", 3)
    shape = import_model(save([helper.make_node("Relu", ["x"], ["y"])], shape=(None, None)))
    assert shape.shape("x") == ("?1", "?2")


@pytest.mark.parametrize("width", [3, 4, None])
def test_a_window_that_starts_in_the_padding_does_not_count(save: Save, width: int | None) -> None:
    """Before opset 22, onnx infers one column more than anything computes."""
    attributes = {"kernel_shape": [4, 2], "pads": [1, 0, 1, 1], "strides": [2, 2]}
    node = helper.make_node("MaxPool", ["x"], ["y"], ceil_mode=1, **attributes)
    path = save([node], shape=(1, 4, 7, 6), opset=13)
    model = onnx.load(path)
    shape = None if width is None else [1, 4, 4, width]
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, shape))
    onnx.save(model, path)
    assert infer(import_model(path)).graph.shape("y") == (1, 4, 4, 3)


def test_record(save: Save) -> None:
    path = save([helper.make_node("Relu", ["x"], ["y"])])
    graph = import_model(path)
    (record,) = graph.history
    assert record.name == "import"
    assert record.output_digest == graph_digest(graph)
    assert record.data_digest == hashlib.sha256(path.read_bytes()).hexdigest()
    copy = path.with_name("other name.onnx")
    copy.write_bytes(path.read_bytes())
    assert import_model(copy) == graph


CONSTANTS = {
    "value": (numpy_helper.from_array(np.arange(4, dtype=np.float32)), [0, 1, 2, 3]),
    "value_float": (2.5, 2.5),
    "value_floats": ([1.0, 2.0, 3.0, 4.0], [1, 2, 3, 4]),
    "value_int": (3, 3),
    "value_ints": ([1, 2, 3, 4], [1, 2, 3, 4]),
}


@pytest.mark.parametrize("form", CONSTANTS)
def test_constants_are_parameters(form: str, save: Save) -> None:
    given, expected = CONSTANTS[form]
    nodes = [
        helper.make_node("Constant", [], ["c"], **{form: given}),
        helper.make_node("Cast", ["c"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["x", "f"], ["y"]),
    ]
    graph = import_model(save(nodes))
    assert [op.kind for op in graph.operations] == ["Cast", "Add"]
    np.testing.assert_array_equal(graph.array("c"), expected)


ELEMENTS: dict[str, tuple[int, DType, list[float]]] = {
    dtype.value: (number, dtype, values)
    for number, dtype, values in (
        (TensorProto.FLOAT, DType.FLOAT32, [1.5, -2]),
        (TensorProto.DOUBLE, DType.FLOAT64, [1.5, -2]),
        (TensorProto.FLOAT16, DType.FLOAT16, [1.5, -2]),
        (TensorProto.INT8, DType.INT8, [-128, 127]),
        (TensorProto.UINT8, DType.UINT8, [0, 255]),
        (TensorProto.INT16, DType.INT16, [-32768, 32767]),
        (TensorProto.UINT16, DType.UINT16, [0, 65535]),
        (TensorProto.INT32, DType.INT32, [-(2**31), 2**31 - 1]),
        (TensorProto.UINT32, DType.UINT32, [0, 2**32 - 1]),
        (TensorProto.INT64, DType.INT64, [-(2**63), 2**63 - 1]),
        (TensorProto.UINT64, DType.UINT64, [0, 2**64 - 1]),
        (TensorProto.BOOL, DType.BOOL, [0, 1]),
        (TensorProto.INT4, DType.INT4, [-8, 7, 3]),
        (TensorProto.UINT4, DType.UINT4, [0, 15, 3]),
    )
}


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("name", ELEMENTS)
def test_element_types(name: str, raw: bool, save: Save) -> None:
    number, dtype, values = ELEMENTS[name]
    tensor = helper.make_tensor("c", number, [len(values)], values)
    if raw:
        tensor = numpy_helper.from_array(numpy_helper.to_array(tensor), "c")
    nodes = [
        helper.make_node("Cast", ["c"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["f"], ["s"], keepdims=0),
        helper.make_node("Add", ["x", "s"], ["y"]),
    ]
    path = save(nodes)
    model = onnx.load(path)
    model.graph.initializer.append(tensor)
    onnx.save(model, path)
    graph = import_model(path)
    assert graph.values["c"].dtype is dtype
    np.testing.assert_array_equal(graph.array("c"), np.array(values, dtype.numpy))


def test_initializers_listed_as_inputs_are_parameters(save: Save) -> None:
    weight = np.ones((4, 3), np.float32)
    path = save([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weight})
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, (4, 3)))
    onnx.save(model, path)
    graph = import_model(path)
    assert graph.inputs == ("x",)
    assert list(graph.parameters) == ["w"]


def test_large_contents_are_views_of_the_file(save: Save) -> None:
    weight = np.random.default_rng(0).standard_normal((4, 4096)).astype(np.float32)
    graph = import_model(save([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weight}))
    np.testing.assert_array_equal(graph.array("w"), weight)
    held = graph.store.raw(graph.parameters["w"].digest)
    assert isinstance(held.obj, bytes)
    assert len(held.obj) > held.nbytes


def test_external_data(save: Save, tmp_path: Path) -> None:
    weights = {
        "w": np.random.default_rng(0).standard_normal((4, 4096)).astype(np.float32),
        "b": np.arange(4096, dtype=np.float32),
        "t": np.array([-1, 64, 64], np.int64),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["g"]),
        helper.make_node("Reshape", ["g", "t"], ["y"]),
    ]
    inline = import_model(save(nodes, weights))
    folder = tmp_path / "external"
    folder.mkdir()
    model = onnx.load(tmp_path / "model.onnx")
    onnx.save(model, folder / "m.onnx", save_as_external_data=True, location="data.bin",
              size_threshold=0)  # fmt: skip
    graph = import_model(folder / "m.onnx")
    assert graph_digest(graph) == graph_digest(inline)
    assert graph.shape("y") == ("?1", 64, 64)
    assert graph.history[0].data_digest != inline.history[0].data_digest


def test_model_functions_are_inlined(save: Save) -> None:
    path = save([helper.make_node("Twice", ["x"], ["y"], domain="local")])
    model = onnx.load(path)
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    opsets = [helper.make_opsetid("", 21)]
    model.functions.append(helper.make_function("local", "Twice", ["a"], ["b"], body, opsets))
    model.opset_import.append(helper.make_opsetid("local", 1))
    onnx.save(model, path)
    assert [op.kind for op in import_model(path).operations] == ["Add"]


def test_other_domains_without_nodes_do_not_matter(save: Save) -> None:
    path = save([helper.make_node("Relu", ["x"], ["y"])])
    model = onnx.load(path)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 2))
    onnx.save(model, path)
    assert import_model(path).opset == 21
