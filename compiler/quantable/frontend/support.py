"""List everything in a model that cannot be imported, at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import onnx
from onnx import AttributeProto, TensorProto

from quantable.frontend.domains import is_standard, kind_of
from quantable.frontend.operations.table import reason_of, user_reason
from quantable.frontend.scopes import all_graphs
from quantable.frontend.tensors import DTYPES
from quantable.frontend.value_types import tensor_of
from quantable.ir import OperationLibrary, UnsupportedError
from quantable.ir.standard_operations import MICROSOFT


def require_supported(proto: onnx.ModelProto, path: Path, library: OperationLibrary) -> None:
    """Raise unless every node, type and tensor of a model can be imported.

    Args:
        proto: The model.
        path: Its file, for messages.
        library: The user operations at hand.

    Raises:
        UnsupportedError: Lists every one that cannot, with its name.
    """
    graphs = list(all_graphs(proto.graph))
    versions = {item.domain: int(item.version) for item in proto.opset_import}
    found = [line for graph in graphs for line in _nodes(graph, versions, library)]
    found += [*_types(proto.graph), *(line for graph in graphs for line in _tensors(graph))]
    if found:
        lines = "".join(f"\n  {line}" for line in found)
        plural = "thing" if len(found) == 1 else "things"
        raise UnsupportedError(
            f"{len(found)} {plural} in this model cannot be imported:{lines}",
            where=str(path),
            help="replace these in the source model, or cut the model before them; 'quantable"
            " list standard-operations' shows what can be imported" + _own(graphs, library),
        )


def _own(graphs: Iterable[onnx.GraphProto], library: OperationLibrary) -> str:
    """Say how operations of domains that nobody knows are made known, where there are some."""
    nodes = (node for graph in graphs for node in graph.node)
    foreign = {
        node.domain
        for node in nodes
        if not is_standard(node) and node.domain != MICROSOFT and kind_of(node) not in library
    }
    if not foreign:
        return ""
    return (
        f"; operations of domain {', '.join(sorted(foreign))} are made known by a package with an "
        "entry point 'quantable.operations', or by --operations FILE.py"
    )


def node_label(node: onnx.NodeProto) -> str:
    """Return what a message calls a node: its name, or what it makes."""
    if node.name:
        return f"node '{node.name}'"
    return f"node that makes '{next(iter(node.output), '')}'"


def _nodes(
    graph: onnx.GraphProto, versions: Mapping[str, int], library: OperationLibrary
) -> Iterator[str]:
    for node in graph.node:
        reason = _reason(node, versions, library)
        if reason is not None:
            yield f"{node_label(node)} ({kind_of(node)}): {reason}"


def _reason(
    node: onnx.NodeProto, versions: Mapping[str, int], library: OperationLibrary
) -> str | None:
    if not is_standard(node) and node.domain != MICROSOFT:
        return user_reason(node, versions, library)
    if any(attribute.type == AttributeProto.GRAPHS for attribute in node.attribute):
        return "attributes that are lists of graphs are not supported"
    return reason_of(node)


def _types(graph: onnx.GraphProto) -> Iterator[str]:
    initialized = {tensor.name for tensor in graph.initializer}
    for value in graph.input:
        kind = value.type.WhichOneof("value")
        if value.name in initialized:
            continue
        if kind == "tensor_type" and value.type.tensor_type.elem_type not in DTYPES:
            yield f"input '{value.name}': {_type_name(value.type.tensor_type.elem_type)} elements"
        elif tensor_of(value.type) is None:
            yield f"input '{value.name}': {kind or 'no type'} of what is not supported"


def _tensors(graph: onnx.GraphProto) -> Iterator[str]:
    for tensor in graph.initializer:
        if tensor.data_type not in DTYPES:
            yield f"initializer '{tensor.name}': {_type_name(tensor.data_type)} elements"
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR and attribute.t.data_type not in DTYPES:
                kind = _type_name(attribute.t.data_type)
                yield f"{node_label(node)} ({node.op_type}): {kind} elements"
    for sparse in graph.sparse_initializer:
        yield f"initializer '{sparse.values.name}': sparse tensors are not supported"


def _type_name(data_type: int) -> str:
    known = data_type in TensorProto.DataType.values()
    return TensorProto.DataType.Name(data_type).lower() if known else f"type {data_type}"
