"""What happened to the operations of some ONNX nodes between two graphs, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from quantable.ir import (
    Graph,
    MemoryPlan,
    Operation,
    QuantableOperation,
    QuantizationParameters,
    Value,
)

MOST_SCALES = 4
"""Scales of a row that are written out; of more, the range is."""


def related(graph: Graph, names: frozenset[str]) -> dict[str, Operation]:
    """Return the operations that have one of the names, or come from a node that has."""
    return {
        op.name: op for op in graph.operations if op.name in names or names & {*op.sources}
    }  # fmt: skip


def touches(before: Graph, after: Graph, names: frozenset[str]) -> list[str]:
    """Return what is different about the operations of some ONNX nodes; nothing for equal ones.

    Args:
        before, after: The graphs.
        names: Names of operations, or of ONNX nodes that they came from.
    """
    old, new = related(before, names), related(after, names)
    found = [f"removed {_label(op)}" for name, op in old.items() if name not in new]
    found += [f"made {_label(op)}" for name, op in new.items() if name not in old]
    for name, op in new.items():
        if name in old:
            changes = [*_operation(old[name], op), *_surroundings(before, after, old[name], op)]
            found += [f"{_label(op)}: {text}" for text in changes]
    return found


def _label(op: Operation) -> str:
    return f"'{op.name}' ({op.kind})"


def _operation(old: Operation, new: Operation) -> Iterator[str]:
    for what in ("kind", "inputs", "outputs", "sources"):
        a, b = getattr(old, what), getattr(new, what)
        if a != b:
            yield f"{what}: {_joined(a)} -> {_joined(b)}"
    changed = [
        key
        for key in sorted({*old.attributes, *new.attributes})
        if old.attributes.get(key) != new.attributes.get(key)
    ]
    if changed:
        yield f"attributes: {', '.join(changed)}"
    if isinstance(new, QuantableOperation):
        yield from _quantization(old, new)


def _joined(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else f"({', '.join(value)})"


def _quantization(old: Operation, new: QuantableOperation) -> Iterator[str]:
    if not isinstance(old, QuantableOperation):
        yield f"dispatched to platform '{new.platform}'"
        return
    before = {(side, index): config for side, index, config in old.config.slots()}
    for side, index, config in new.config.slots():
        was = before.get((side, index))
        if was is not None and was != config:
            parts = [
                f"{what} {a} -> {b}"
                for what, a, b in (
                    ("state", was.state.value, config.state.value),
                    ("relation", was.relation.value, config.relation.value),
                    ("row", was.row or "none", config.row or "none"),
                    ("bits", was.bits, config.bits),
                    ("observer", was.observer or "none", config.observer or "none"),
                    ("policy", str(was.policy), str(config.policy)),
                )
                if a != b
            ]
            yield f"{side}{index}: {', '.join(parts) or 'range or rounding'}"
    baked = {entry.slot for entry in old.baked}
    for entry in new.baked:
        if entry.slot not in baked:
            yield f"in{entry.slot}: stored as {entry.content.dtype.value}"


def _surroundings(before: Graph, after: Graph, old: Operation, new: Operation) -> Iterator[str]:
    """Yield what changed outside the operation: contents, types, rows, places in memory."""
    for name in dict.fromkeys(new.inputs):
        if name in old.inputs and before.parameters.get(name) != after.parameters.get(name):
            state = "changed" if name in before.parameters else "became constant"
            yield f"contents of '{name}' {state}"
    for name in new.outputs:
        a, b = before.values.get(name), after.values.get(name)
        if a is not None and b is not None and a != b:
            yield f"type of '{name}': {_type(a)} -> {_type(b)}"
        if before.plan is None and after.plan is not None and name in after.plan.offsets:
            yield f"'{name}' placed at byte {after.plan.offsets[name]} of the arena"
    if before.plan is None and after.plan is not None:
        yield from _streams(after.plan, new)
    for row in dict.fromkeys(_rows(new)):
        was, now = before.rows.get(row), after.rows.get(row)
        if was is not None and now is not None and was != now:
            why = f" ({now.provenance})" if now.provenance else ""
            yield f"row '{row}': {scales(was)} -> {scales(now)}{why}"


def _streams(plan: MemoryPlan, op: Operation) -> Iterator[str]:
    for stream in plan.streams:
        if op.name in stream.operations:
            others = ", ".join(f"'{name}'" for name in stream.operations if name != op.name)
            yield f"runs in turns with {others}, {stream.rows} rows of the last one at a time"
            for name in op.outputs:
                if name in stream.rings:
                    yield f"{stream.rings[name].rows} rows of '{name}' are kept at a time"


def _rows(op: Operation) -> Iterable[str]:
    if not isinstance(op, QuantableOperation):
        return ()
    return [config.row for _, _, config in op.config.slots() if config.row]


def _type(value: Value) -> str:
    shape = "?" if value.shape is None else ", ".join(str(dim) for dim in value.shape)
    return f"{value.dtype.value}[{shape}]"


def scales(row: QuantizationParameters) -> str:
    """Return the scales and zero points of a row for a person; six digits."""
    if not row.scale:
        return "empty"
    zeros = sorted(set(row.zero_point))
    zero = f"zero point {zeros[0]}" if len(zeros) == 1 else f"zero points {zeros[0]}..{zeros[-1]}"
    if len(row.scale) <= MOST_SCALES:
        return f"scale {', '.join(f'{scale:.6g}' for scale in row.scale)}, {zero}"
    ends = f"{min(row.scale):.6g}..{max(row.scale):.6g}"
    return f"{len(row.scale)} scales {ends}, {zero}"
