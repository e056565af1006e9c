"""User operations in an imported graph: default attributes, and the record of each kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import onnx

from quantable.frontend.domains import is_standard
from quantable.frontend.scopes import all_graphs
from quantable.ir import Attribute, Graph, Operation, OperationLibrary, Region
from quantable.ir.operation_library import record_key
from quantable.ir.standard_operations import MICROSOFT


def has_user_operations(proto: onnx.ModelProto) -> bool:
    """Whether a model has operations of other domains than the standard's and ONNX Runtime's, and
    not as functions of its own."""
    own = {(function.domain, function.name) for function in proto.functions}
    nodes = (node for graph in all_graphs(proto.graph) for node in graph.node)
    return any(
        not is_standard(node)
        and node.domain != MICROSOFT
        and (node.domain, node.op_type) not in own
        for node in nodes
    )


def with_user_operations(graph: Graph, proto: onnx.ModelProto, library: OperationLibrary) -> Graph:
    """Return a graph whose user operations have every attribute, with a record of each kind."""
    versions = {item.domain: int(item.version) for item in proto.opset_import}
    used = sorted({op.kind for op in _all_operations(graph.operations)} & {*library})
    if not used:
        return replace(graph, library=library)
    records = {
        record_key(kind): library[kind].record(versions.get(kind.rpartition(".")[0], 1))
        for kind in used
    }
    operations = tuple(_completed(op, library) for op in graph.operations)
    metadata = {**graph.metadata, **records}
    return replace(graph, operations=operations, metadata=metadata, library=library)


def _all_operations(operations: Iterable[Operation]) -> Iterator[Operation]:
    for op in operations:
        yield op
        for region in op.regions.values():
            yield from _all_operations(region.operations)


def _completed(op: Operation, library: OperationLibrary) -> Operation:
    held = library.get(op.kind)
    attributes = {name: _region(item, library) for name, item in op.attributes.items()}
    if held is not None:
        attributes = {**held.definition.attributes, **attributes}
    elif not op.regions:
        return op
    return replace(op, attributes=attributes)


def _region(item: Attribute, library: OperationLibrary) -> Attribute:
    if not isinstance(item, Region):
        return item
    return replace(item, operations=tuple(_completed(op, library) for op in item.operations))
