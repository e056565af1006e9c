"""Attributes and types of matched operations, and types of the graph's inputs."""

from __future__ import annotations

from collections.abc import Iterator

from quantable.ir.contents import ContentRef
from quantable.ir.diff.changes import FieldChange, OperationChange, OperationRef
from quantable.ir.diff.fingerprints import attribute_key
from quantable.ir.diff.matching import Matching
from quantable.ir.diff.quantization import is_quantization
from quantable.ir.diff.structure import pair_ref
from quantable.ir.graph import Graph, Value
from quantable.ir.hashing import object_digest
from quantable.ir.operation import Attribute, Operation
from quantable.ir.region import Region


def attribute_changes(matching: Matching) -> Iterator[OperationChange]:
    """Yield one entry for every operation whose attributes or types changed."""
    a_graph, b_graph = matching.a.graph, matching.b.graph
    before = [a_graph.values.get(name) for name in a_graph.inputs]
    after = [b_graph.values.get(name) for name in b_graph.inputs]
    fields = tuple(_types("input ", before, after))
    if fields:
        yield OperationChange(OperationRef("graph", "", -1), "", fields)
    for a, b in matching.pairs():
        one, other = matching.a.operations[a], matching.b.operations[b]
        made = _made(a_graph, one), _made(b_graph, other)
        fields = (*_attributes(one, other), *_types("type of out", *made))
        if fields:
            yield OperationChange(pair_ref(matching, a, b), "", fields)


def _attributes(one: Operation, other: Operation) -> Iterator[FieldChange]:
    for name in sorted({*one.attributes, *other.attributes}):
        left, right = one.attributes.get(name), other.attributes.get(name)
        if is_quantization(one, name):
            continue
        if left is None or right is None or attribute_key(left) != attribute_key(right):
            yield FieldChange(name, _text(left), _text(right))


def _types(
    word: str, before: list[Value | None], after: list[Value | None]
) -> Iterator[FieldChange]:
    for slot in range(max(len(before), len(after))):
        texts = [_type(values[slot] if slot < len(values) else None) for values in (before, after)]
        if texts[0] != texts[1]:
            yield FieldChange(f"{word}{slot}", *texts)


def _made(graph: Graph, op: Operation) -> list[Value | None]:
    return [graph.values.get(name) for name in op.outputs]


def _type(value: Value | None) -> str:
    if value is None:
        return "-"
    shape = "*" if value.shape is None else ", ".join(map(str, value.shape))
    head = "" if value.is_tensor else f"{value.container.value}."
    return f"{head}{value.dtype.value}[{shape}]"


def _text(value: Attribute | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, ContentRef):
        shape = ", ".join(map(str, value.shape))
        return f"{value.dtype.value}[{shape}] sha256:{value.digest[:12]}"
    if isinstance(value, Region):
        kinds = ", ".join(op.kind for op in value.operations)
        return f"region '{value.name}' of {kinds or 'nothing'} ({object_digest(value)[:12]})"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_text, value))}]"
    return repr(value)
