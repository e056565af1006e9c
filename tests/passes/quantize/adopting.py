"""Models with quantizers, written as ONNX text, and the configs that they become."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from quantable.ir import Graph, QuantableOperation, Relation, State

Adopt = Callable[..., Graph]
"""The fixture `adopt`."""
Remarks = list[tuple[str, str, str]]
CONSTANTS = "float s = {0.5}, uint8 z = {128}, float t = {0.25}, int8 y0 = {3}"
OWN = State.ACTIVATED, Relation.OWN
OVERLAPPED = State.OVERLAPPED, Relation.OVERLAPPED
SHARED = State.PASSIVE, Relation.SHARED


def parsed(text: str) -> onnx.ModelProto:
    """Return the model of a graph's text, at opset 21."""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 21]>\n{text}')
    for tensor in model.graph.initializer:  # the parser does not pack elements of 4 bits
        if tensor.data_type in (onnx.TensorProto.INT4, onnx.TensorProto.UINT4):
            items = list(tensor.int32_data)
            tensor.CopyFrom(
                onnx.helper.make_tensor(tensor.name, tensor.data_type, tensor.dims, items)
            )
    return model


def slot(graph: Graph, operation: str, side: str, index: int) -> tuple[State, Relation, str]:
    """Return what is said of one slot."""
    op = graph.operation_by_name[operation]
    assert isinstance(op, QuantableOperation)
    config = (op.config.inputs if side == "in" else op.config.outputs)[index]
    return config.state, config.relation, config.row
