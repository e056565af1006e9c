"""What the converter of onnx leaves as it was in old opsets, and what means another thing since."""

from __future__ import annotations

import onnx
from onnx import shape_inference

from quantable.frontend.scopes import all_graphs

_PADS_AS_OPERANDS = 11
_BROADCAST_OF_NUMPY = 7
"""From this opset on, slopes of PRelu are aligned with the last axes of its input."""


def mend(graph_of: onnx.ModelProto, opset: int) -> None:
    """Write nodes of opsets 1 to 10 so that they mean the same later, in place."""
    if opset < _PADS_AS_OPERANDS:
        for graph in all_graphs(graph_of.graph):
            for node in graph.node:
                if node.op_type == "Pad":
                    _drop_unread_value(node)
    if opset >= _BROADCAST_OF_NUMPY:
        return
    nodes = [node for node in graph_of.graph.node if node.op_type == "PRelu"]
    if nodes:
        ranks = _ranks(graph_of)
        for node in nodes:
            _mend_prelu(graph_of.graph, node, ranks.get(node.input[0], 0))


def _drop_unread_value(node: onnx.NodeProto) -> None:
    """Only padding with a constant reads the value; for others the converter would keep it."""
    modes = [item.s for item in node.attribute if item.name == "mode"]
    if modes and modes[0] != b"constant":
        kept = [item for item in node.attribute if item.name != "value"]
        copies = [onnx.AttributeProto.FromString(item.SerializeToString()) for item in kept]
        del node.attribute[:]
        node.attribute.extend(copies)


def _ranks(proto: onnx.ModelProto) -> dict[str, int]:
    graph = shape_inference.infer_shapes(proto).graph
    items = (*graph.input, *graph.value_info, *graph.output)
    return {item.name: len(item.type.tensor_type.shape.dim) for item in items}


def _mend_prelu(graph: onnx.GraphProto, node: onnx.NodeProto, rank: int) -> None:
    """One slope a channel: before opset 7 they belong to the second axis."""
    for tensor in graph.initializer:
        if tensor.name == node.input[1] and len(tensor.dims) == 1 and tensor.dims[0] > 1 < rank:
            mended = onnx.TensorProto()
            mended.CopyFrom(tensor)
            mended.name = f"{tensor.name}/channels of {node.output[0]}"
            mended.dims.extend([1] * (rank - 2))
            graph.initializer.append(mended)
            node.input[1] = mended.name
            return
