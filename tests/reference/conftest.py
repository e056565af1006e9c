"""What the tests of the reference runtime share: graphs from operations, and ONNX models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper

from quantable.ir import Attribute, ContentStore, DType, Graph, Level, Operation, Value

Array = npt.NDArray[Any]


def _attribute(proto: onnx.AttributeProto, store: ContentStore) -> Attribute:
    value = onnx.helper.get_attribute_value(proto)
    if isinstance(value, onnx.TensorProto):
        return store.put(numpy_helper.to_array(value))
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (int, float)):
        return value
    return tuple(item.decode() if isinstance(item, bytes) else item for item in value)


def _graph_of_node(model: onnx.ModelProto, inputs: Sequence[Array], constant: bool) -> Graph:
    """Return the graph of a model of one node; all inputs but the first may become parameters."""
    (node,) = model.graph.node
    store = ContentStore()
    names = [item.name for item in model.graph.input]
    arrays = dict(zip(names, inputs, strict=True))
    held = {name: store.put(arrays[name]) for name in names[1:]} if constant else {}
    values = {n: Value(n, DType.of(a.dtype), tuple(a.shape)) for n, a in arrays.items()}
    for item in model.graph.output:
        kind = onnx.helper.tensor_dtype_to_np_dtype(item.type.tensor_type.elem_type)
        values[item.name] = Value(item.name, DType.of(kind))
    for name in node.output:
        values.setdefault(name, Value(name, DType.FLOAT32))
    operation = Operation(
        "op", node.op_type, tuple(node.input), tuple(node.output),
        {item.name: _attribute(item, store) for item in node.attribute},
    )  # fmt: skip
    values.pop("", None)
    return Graph(
        "node", Level.FLOAT, model.opset_import[0].version,
        tuple(name for name in names if name not in held),
        tuple(item.name for item in model.graph.output),
        values, (operation,), held, store=store,
    )  # fmt: skip


@pytest.fixture(scope="session")
def graph_of_node() -> Callable[[onnx.ModelProto, Sequence[Array], bool], Graph]:
    return _graph_of_node


def _graph_of(
    level: Level,
    operations: Sequence[Operation],
    inputs: Mapping[str, tuple[DType, tuple[int | str, ...]]],
    parameters: Mapping[str, Array],
    made: Mapping[str, DType],
) -> Graph:
    store = ContentStore()
    held = {name: store.put(array) for name, array in parameters.items()}
    values = {name: Value(name, dtype, shape) for name, (dtype, shape) in inputs.items()}
    values |= {name: Value(name, ref.dtype, ref.shape) for name, ref in held.items()}
    values |= {name: Value(name, dtype) for name, dtype in made.items()}
    return Graph(
        "graph", level, 21, tuple(inputs), tuple(operations[-1].outputs), values,
        tuple(operations), held, store=store,
    )  # fmt: skip


@pytest.fixture(scope="session")
def graph_of() -> Callable[..., Graph]:
    """Build a graph: (level, operations, inputs, parameters, types of what is made)."""
    return _graph_of


@pytest.fixture(scope="session")
def models() -> Path:
    folder = Path(__file__).parents[2].parent / "shared" / "models"
    if not folder.is_dir():
        pytest.skip("the shared networks (../shared/models) are absent")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)
