"""Regions as ONNX writes them: graphs in attributes that read the scopes around them by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import onnx
from quantable.backends.onnx.protos import attribute_protos, node, tensor, value_info
from quantable.ir import CAPTURES, ContentStore, Operation, Region, Value


def node_of(
    operation: Operation, opset: int, store: ContentStore, values: Mapping[str, Value]
) -> onnx.NodeProto:
    """Return the proto of an operation, regions included, whose operands have their final names.

    ONNX wants every name of a model once: those inside a region get the operation's in front.
    """
    regions = operation.regions
    if not regions:
        proto = node(operation, opset, store)
        if operation.kind == "Optional" and not operation.inputs:
            kind = value_info(values[operation.outputs[0]]).type.optional_type.elem_type
            proto.attribute.append(onnx.helper.make_attribute("type", kind))
        return proto
    captured = operation.inputs[len(operation.inputs) - operation.captures :]
    own = operation.inputs[: len(operation.inputs) - operation.captures]
    rest = {n: v for n, v in operation.attributes.items() if n not in regions and n != CAPTURES}
    proto = node(replace(operation, inputs=own, attributes={}), opset, store)
    proto.attribute.extend(attribute_protos(rest, operation.kind, opset, store))
    for name, region in regions.items():
        place = f"{operation.name}/{name}"
        graph = _graph(region, place, captured, opset, store)
        proto.attribute.append(onnx.helper.make_attribute(name, graph))
    return proto


def _graph(
    region: Region, place: str, captured: tuple[str, ...], opset: int, store: ContentStore
) -> onnx.GraphProto:
    count = len(region.inputs) - len(captured)
    outer = dict(zip(region.inputs[count:], captured, strict=True))

    def named(name: str) -> str:
        return outer.get(name) or (name and f"{place}/{name}")

    values = {named(name): value for name, value in region.values.items()}
    graph = onnx.GraphProto(name=region.name or place)
    graph.input.extend(
        value_info(replace(region.values[name], name=named(name))) for name in region.inputs[:count]
    )
    graph.initializer.extend(
        tensor(named(name), ref, store) for name, ref in region.parameters.items()
    )
    for operation in region.operations:
        graph.node.append(node_of(_renamed(operation, place, named), opset, store, values))
    graph.output.extend(_outputs(region, graph, place, named))
    return graph


def _renamed(operation: Operation, place: str, named: Callable[[str], str]) -> Operation:
    return replace(
        operation, name=f"{place}/{operation.name}",
        inputs=tuple(map(named, operation.inputs)), outputs=tuple(map(named, operation.outputs)),
    )  # fmt: skip


def _outputs(
    region: Region, graph: onnx.GraphProto, place: str, named: Callable[[str], str]
) -> Iterable[onnx.ValueInfoProto]:
    """Return the outputs; one that no node makes, or that is named twice, gets a node."""
    made: Mapping[str, None] = {name: None for op in region.operations for name in op.outputs}
    seen: set[str] = set()
    for index, name in enumerate(region.outputs):
        final = named(name)
        if name not in made or name in seen:
            source, final = final, f"{place}/output {index}"
            graph.node.append(onnx.helper.make_node("Identity", [source], [final], final))
        seen.add(name)
        yield value_info(replace(region.values[name], name=final))
