"""Single changes, planted into real graphs, with what a diff has to say about each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from quantable.ir import (
    Decision,
    Graph,
    Operation,
    QuantableOperation,
    Relation,
    Rounding,
    State,
    TensorQuantizationConfig,
    Value,
)

Chooser = np.random.Generator


@dataclass(frozen=True)
class Planted:
    """A change.

    Attributes:
        label: What was changed.
        graph: The changed graph.
        section: Of the diff that has to report it.
        place: Part of the name of what is reported.
        fields: Names of the properties that are reported, where there are such.
    """

    label: str
    graph: Graph
    section: str
    place: str
    fields: tuple[str, ...] = ()


Slot = tuple[QuantableOperation, str, int, TensorQuantizationConfig]


def _slots(graph: Graph, *relations: Relation) -> list[Slot]:
    return [
        (op, side, index, config)
        for op in graph.quantable_operations
        for side, index, config in op.config.slots()
        if config.relation in relations and not config.state.is_baked
    ]


def _one(items: list[Slot], chooser: Chooser) -> Slot:
    return items[int(chooser.integers(len(items)))]


def _row(graph: Graph, chooser: Chooser, label: str) -> Planted | None:
    sources = {name for row in graph.rows.values() for name in row.derived_from if row.is_filled}
    sources |= {op.config.inputs[e.slot].row for op in graph.quantable_operations for e in op.baked}
    slots = [s for s in _slots(graph, Relation.OWN) if graph.rows[s[3].row].is_filled
             and s[3].row not in sources]  # fmt: skip
    if not slots:
        return None
    op, side, index, config = _one(slots, chooser)
    row = graph.rows[config.row]
    if label == "scale":
        at = int(chooser.integers(len(row.scale)))
        scale = (*row.scale[:at], row.scale[at] * 1.25, *row.scale[at + 1 :])
        row = replace(row, scale=scale)
    else:
        row = replace(row, zero_point=tuple(zero + 1 for zero in row.zero_point))
    return Planted(
        label, graph.with_rows([row]), "quantization", f"{op.name} {side}{index}", (label,)
    )


def _config(graph: Graph, chooser: Chooser, label: str) -> Planted | None:
    slots = _slots(graph, Relation.OWN, Relation.OVERLAPPED)
    if not slots:
        return None
    op, side, index, config = _one(slots, chooser)
    changed, fields = {
        "bits": (replace(config, bits=config.bits + 1), ("bits",)),
        "range": (replace(config, quant_max=config.quant_max - 1), ("range",)),
        "rounding": (replace(config, rounding=Rounding.UP), ("rounding",)),
        "observer": (replace(config, observer="other"), ("observer",)),
        "suspended": (config.suspend(), ("state", "suspended")),
    }[label]
    place = f"{op.name} {side}{index}"
    changed_graph = graph.with_operation(op.with_slot(side, index, changed))
    return Planted(label, changed_graph, "quantization", place, fields)


def _state(graph: Graph, chooser: Chooser, label: str) -> Planted | None:
    slots = _slots(graph, Relation.OVERLAPPED)
    if not slots:
        return None
    op, side, index, config = _one(slots, chooser)
    if label == "state":
        changed, fields = config.unquantized(), ("state", "sharing", "scale", "zero point")
        rows = []
    else:  # the slot no longer follows the row that it was aligned with
        own = replace(graph.rows[config.row], id="own.row")
        changed = replace(config, state=State.ACTIVATED, relation=Relation.OWN, row=own.id)
        fields, rows = ("state", "sharing"), [own]
    result = graph.with_operation(op.with_slot(side, index, changed)).with_rows(rows)
    if not graph.rows[config.row].is_filled:
        fields = fields[:2]
    return Planted(label, result, "quantization", f"{op.name} {side}{index}", fields)


def _platform(graph: Graph, chooser: Chooser, label: str) -> Planted | None:
    found = graph.quantable_operations
    if not found:
        return None
    op = found[int(chooser.integers(len(found)))]
    changed = graph.with_operation(replace(op, platform="elsewhere"))
    return Planted(label, changed, "quantization", op.name, ("platform",))


def _weight(graph: Graph, chooser: Chooser, label: str) -> Planted | None:
    read = {name for op in graph.operations for name in op.inputs}
    names = [n for n, ref in graph.parameters.items() if n in read and ref.element_count]
    if not names:
        return None
    name = names[int(chooser.integers(len(names)))]
    ref = graph.parameters[name]
    array = graph.array(name).copy()
    place = int(chooser.integers(array.size))
    if ref.dtype.is_integer:
        array.flat[place] ^= 1  # stays inside the type, where + 1 may leave it
    else:
        array.flat[place] += 1
    changed = graph.store.put(array, ref.dtype)
    parameters = {**graph.parameters, name: changed}
    return Planted(label, replace(graph, parameters=parameters), "parameters", name)


def _attribute(graph: Graph, chooser: Chooser, label: str) -> Planted | None:
    op = graph.operations[int(chooser.integers(len(graph.operations)))]
    numbers = [n for n, v in op.attributes.items() if isinstance(v, (int, float))]
    name = numbers[0] if numbers else "planted"
    value = op.attributes.get(name, 0)
    assert isinstance(value, (int, float))
    changed = graph.with_operation(replace(op, attributes={**op.attributes, name: value + 1}))
    is_integer = op.kind.startswith("int.") and bool(numbers) and name not in ("group",)
    section = "quantization" if is_integer else "attributes"
    return Planted(
        label, changed, section, op.name, (name.replace("_", " ") if is_integer else name,)
    )


def _rewired(graph: Graph, chooser: Chooser, label: str) -> Planted | None:
    """Let an operation read another activation of the same type that is made before."""
    made: list[str] = list(graph.inputs)
    options: list[tuple[Operation, int, str]] = []
    for op in graph.operations:
        for slot, name in enumerate(op.inputs):
            if name in graph.parameters or not name:
                continue
            kind = graph.values[name].dtype
            options += [
                (op, slot, other)
                for other in made
                if other != name and graph.values[other].dtype is kind
            ]
        made += [name for name in op.outputs if name]
    if not options:
        return None
    op, slot, other = options[int(chooser.integers(len(options)))]
    inputs = (*op.inputs[:slot], other, *op.inputs[slot + 1 :])
    changed = graph.with_operation(replace(op, inputs=inputs))
    return Planted(label, changed, "rewired", op.name, (f"in{slot}",))


def _plain_unary(graph: Graph) -> list[Operation]:
    """Operations with one activation, one output, and other readers than the graph's border."""
    return [
        op
        for op in graph.operations
        if len(op.outputs) == 1
        and op.outputs[0] not in graph.outputs
        and [n for n in op.inputs if n not in graph.parameters] == [op.inputs[0]]
        and op.inputs[0] in graph.producers
    ]


def _removed(graph: Graph, chooser: Chooser, label: str) -> Planted | None:
    found = [op for op in _plain_unary(graph) if len(op.inputs) == 1]
    found = [
        op
        for op in found
        if not isinstance(op, QuantableOperation)
        or all(c.relation is not Relation.OWN for _, _, c in op.config.slots())
    ]
    if not found:
        return None
    op = found[int(chooser.integers(len(found)))]
    operations = tuple(
        replace(o, inputs=tuple(op.inputs[0] if n == op.outputs[0] else n for n in o.inputs))
        for o in graph.operations
        if o is not op
    )
    values = {n: v for n, v in graph.values.items() if n != op.outputs[0]}
    return Planted(label, replace(graph, operations=operations, values=values), "removed", op.name)


def _added(graph: Graph, chooser: Chooser, label: str) -> Planted | None:
    found = _plain_unary(graph)
    if not found:
        return None
    op = found[int(chooser.integers(len(found)))]
    value = graph.values[op.inputs[0]]
    new = Operation("planted", "Identity", (value.name,), ("planted.out",))
    changed = replace(op, inputs=("planted.out", *op.inputs[1:]))
    operations: list[Operation] = []
    for o in graph.operations:
        operations += [new, changed] if o is op else [o]
    values = {**graph.values, "planted.out": Value("planted.out", value.dtype, value.shape)}
    result = replace(graph, operations=tuple(operations), values=values)
    return Planted(label, result, "added", "planted")


def _kind(graph: Graph, chooser: Chooser, label: str) -> Planted | None:
    op = graph.operations[int(chooser.integers(len(graph.operations)))]
    changed = graph.with_operation(replace(op, kind=f"{op.kind}Planted"))
    return Planted(label, changed, "replaced", op.name)


def _target(graph: Graph, chooser: Chooser, label: str) -> Planted | None:
    return Planted(label, replace(graph, target=f"{graph.target}+"), "metadata", "target")


def _baked(graph: Graph, chooser: Chooser, label: str) -> Planted | None:
    found = [op for op in graph.quantable_operations if op.baked]
    if not found:
        return None
    op = found[int(chooser.integers(len(found)))]
    entry = op.baked[0]
    array = graph.store.get(entry.content).copy()
    at = int(chooser.integers(array.size))
    array.flat[at] += -1 if array.flat[at] > 0 else 1
    changed = replace(entry, content=graph.store.put(array, entry.content.dtype))
    result = graph.with_operation(replace(op, baked=(changed, *op.baked[1:])))
    return Planted(label, result, "parameters", op.inputs[entry.slot])


def _decision(graph: Graph, chooser: Chooser, label: str) -> Planted | None:
    at = int(chooser.integers(len(graph.history)))
    record = graph.history[at]
    changed = replace(
        record, decisions=(*record.decisions, Decision(("a",), "b", "c", 2.0, 1.0, True))
    )
    result = replace(graph, history=(*graph.history[:at], changed, *graph.history[at + 1 :]))
    place = f"decision {len(changed.decisions)} of stage {at + 1} '{record.name}'"
    return Planted(label, result, "metadata", place)


PLANTERS: dict[str, Callable[[Graph, Chooser, str], Planted | None]] = {
    "scale": _row, "zero point": _row, "bits": _config, "range": _config, "rounding": _config,
    "observer": _config, "suspended": _config, "state": _state, "lost alignment": _state,
    "platform": _platform, "weight": _weight, "attribute": _attribute, "rewired": _rewired,
    "removed": _removed, "added": _added, "kind": _kind, "target": _target, "baked": _baked,
    "decision": _decision,
}  # fmt: skip


def planted(graph: Graph, seed: int) -> Iterator[Planted]:
    """Yield a change of every kind that a graph allows, at places that the seed decides."""
    for number, (label, plant) in enumerate(PLANTERS.items()):
        found = plant(graph, np.random.Generator(np.random.Philox(key=[seed, number])), label)
        if found is not None:
            yield found
