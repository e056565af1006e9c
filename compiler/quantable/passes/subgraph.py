"""A part of a graph as a graph of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from quantable.ir import Graph, MemoryPlan, Operation, Stream


def subgraph(graph: Graph, names: Collection[str]) -> Graph:
    """Return the graph of some operations, in the order in which they stand.

    What they read of the others becomes an input (after the inputs that were there and are still
    read), what they make and nobody among them reads becomes an output (after the outputs that
    were there). Rows and the places of a memory plan are kept where their slots and values are.

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
    plan = graph.plan
    if plan is not None:
        plan = replace(
            plan, offsets={n: o for n, o in plan.offsets.items() if n in held},
            streams=tuple(_streams(plan, operations, {*inputs, *outputs})),
        )  # fmt: skip
    return replace(
        graph, operations=operations, inputs=tuple(inputs), outputs=tuple(outputs), plan=plan,
        values={n: v for n, v in graph.values.items() if n in held},
        parameters={n: ref for n, ref in graph.parameters.items() if n in read},
    )  # fmt: skip


def _streams(
    plan: MemoryPlan, operations: Sequence[Operation], border: set[str]
) -> Iterator[Stream]:
    """Yield what is left of streams of two operations or more; the border keeps all rows."""
    names = {op.name for op in operations}
    made = {name for op in operations for name in op.outputs} - border
    for stream in plan.streams:
        left = tuple(name for name in stream.operations if name in names)
        if len(left) > 1:
            rings = {name: ring for name, ring in stream.rings.items() if name in made}
            yield Stream(left, stream.rows, rings)


def _read_outside(graph: Graph, value: str, names: Collection[str]) -> bool:
    return any(reader.name not in names for reader, _ in graph.uses(value))
