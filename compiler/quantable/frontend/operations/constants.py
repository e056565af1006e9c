"""Constant nodes: every form of the value becomes a tensor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

_ARRAYS: dict[str, Callable[[onnx.AttributeProto], npt.NDArray[np.generic]]] = {
    "value_float": lambda a: np.asarray(a.f, np.float32),
    "value_floats": lambda a: np.asarray(a.floats, np.float32),
    "value_int": lambda a: np.asarray(a.i, np.int64),
    "value_ints": lambda a: np.asarray(a.ints, np.int64),
}


def constant_reason(node: onnx.NodeProto) -> str | None:
    """Return why a Constant node cannot be imported, or None."""
    names = [attribute.name for attribute in node.attribute]
    if len(names) == 1 and (names[0] == "value" or names[0] in _ARRAYS):
        return None
    return f"holds {', '.join(names) or 'no value'}; expected value, {', '.join(_ARRAYS)}"


def constant_tensor(node: onnx.NodeProto) -> onnx.TensorProto:
    """Return the value of a Constant node, named like its output."""
    attribute = node.attribute[0]
    tensor = onnx.TensorProto()
    if attribute.name == "value":
        tensor.CopyFrom(attribute.t)
    else:
        tensor.CopyFrom(numpy_helper.from_array(_ARRAYS[attribute.name](attribute)))
    tensor.name = node.output[0]
    return tensor


def lift_constants(graph: onnx.GraphProto) -> None:
    """Turn every Constant node into an initializer, in place."""
    constants = [node for node in graph.node if node.op_type == "Constant" and not node.domain]
    graph.initializer.extend(constant_tensor(node) for node in constants)
    rest = [node for node in graph.node if node.op_type != "Constant"]
    if constants:
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in rest]
        del graph.node[:]
        graph.node.extend(copies)
