"""Local functions of a model become the nodes that they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx
from onnx import inliner

from quantable.frontend.scopes import all_graphs, subgraphs


def inlined(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model without local functions.

    The inliner of onnx knows attributes by reference, and leaves out the defaults that a function
    gives to its own: every call gets them first.
    """
    if not proto.functions:
        return proto
    defaults = {
        (item.domain, item.name, item.overload): list(item.attribute_proto)
        for item in proto.functions
    }
    for node in _nodes(proto):
        for attribute in defaults.get((node.domain, node.op_type, node.overload), ()):
            if all(given.name != attribute.name for given in node.attribute):
                node.attribute.append(attribute)
    return inliner.inline_local_functions(proto)


def _nodes(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    for graph in all_graphs(proto.graph):
        yield from graph.node
    for function in proto.functions:
        yield from _nodes_within(function.node)


def _nodes_within(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for _, graph in subgraphs(node):
            yield from _nodes_within(graph.node)
