"""Scopes of an ONNX model: graphs inside nodes, and the names that they read of what is around."""

from __future__ import annotations

from collections.abc import Iterator

import onnx


def subgraphs(node: onnx.NodeProto) -> Iterator[tuple[str, onnx.GraphProto]]:
    """Yield the graphs inside a node with the names of their attributes, in order."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.name, attribute.g


def all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph and all graphs inside its nodes."""
    yield graph
    for node in graph.node:
        for _, inner in subgraphs(node):
            yield from all_graphs(inner)


def free_names(graph: onnx.GraphProto) -> list[str]:
    """Return the names that a graph reads and does not define, in the order of their first use."""
    defined = {item.name for item in (*graph.input, *graph.initializer)}
    found: dict[str, None] = {}

    def read(name: str) -> None:
        if name and name not in defined:
            found.setdefault(name)

    for node in graph.node:
        for name in node.input:
            read(name)
        for _, inner in subgraphs(node):
            for name in free_names(inner):
                read(name)
        defined.update(node.output)
    for item in graph.output:
        read(item.name)
    return list(found)


def read_names(graph: onnx.GraphProto) -> set[str]:
    """Return every name that nodes of a graph, graphs inside them, or its outputs read."""
    names = {name for node in graph.node for name in node.input}
    names |= {item.name for item in graph.output}
    for node in graph.node:
        for _, inner in subgraphs(node):
            names.update(free_names(inner))
    return names
