"""A part of a graph as a graph of its own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from quantable.ir import Graph, MemoryPlan
from quantable.passes.plan.arena import place
from quantable.passes.plan.storage import arena_buffers


def subgraph(graph: Graph, names: Collection[str]) -> Graph:
    """Return the graph of some operations, in the order in which they stand.

    What they read of the others becomes an input (after the inputs that were there and are still
    read), what they make and nobody among them reads becomes an output (after the outputs that
    were there). Rows and the places of a memory plan are kept where their slots and values are;
    where a stream of the plan is cut, all is placed anew.

    Args:
        graph: Of any level.
        names: Names of operations.
    """
    operations = tuple(op for op in graph.operations if op.name in names)
    read = dict.fromkeys(n for op in operations for n in op.inputs if n)
    made = dict.fromkeys(n for op in operations for n in op.outputs if n)
    inputs = [name for name in graph.inputs if name in read]
    inputs += [n for n in read if n not in made and n not in graph.parameters and n not in inputs]
    # An optional output that nobody reads, a mask for instance, says nothing.
    firsts = {op.outputs[0] for op in operations}
    outputs = [name for name in graph.outputs if name in made]
    outputs += [
        n for n in made
        if n not in outputs and ((n not in read and n in firsts) or _read_outside(graph, n, names))
    ]  # fmt: skip
    held = {*inputs, *read, *made}
    part = replace(
        graph, operations=operations, inputs=tuple(inputs), outputs=tuple(outputs),
        values={n: v for n, v in graph.values.items() if n in held},
        parameters={n: ref for n, ref in graph.parameters.items() if n in read},
    )  # fmt: skip
    return part if graph.plan is None else replace(part, plan=_plan(graph.plan, part))


def _plan(plan: MemoryPlan, part: Graph) -> MemoryPlan:
    """Return the places of a part; anew where a stream is cut, since its rings are too small."""
    names = {op.name for op in part.operations}
    whole = tuple(s for s in plan.streams if names.issuperset(s.operations))
    if whole == tuple(s for s in plan.streams if names.intersection(s.operations)):
        offsets = {n: o for n, o in plan.offsets.items() if n in part.values}
        return replace(plan, offsets=offsets, streams=whole)
    buffers = arena_buffers(part, part.operations, streams=whole, is_ordered=plan.is_ordered)
    size, found = place(buffers, plan.alignment)
    places = {n: o for b, o in zip(buffers, found, strict=True) for n in b.values}
    return replace(plan, arena_bytes=size, offsets=dict(sorted(places.items())), streams=whole)


def _read_outside(graph: Graph, value: str, names: Collection[str]) -> bool:
    return any(reader.name not in names for reader, _ in graph.uses(value))
