"""The same graph under other names and in another order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quantable.ir import (
    Graph,
    Operation,
    OperationQuantizationConfig,
    QuantableOperation,
    Stream,
    TensorQuantizationConfig,
)

Names = dict[str, str]


def shuffled_names(names: list[str], generator: np.random.Generator, *, fresh: bool) -> Names:
    """Return other names: made up, or the same ones dealt out again."""
    if fresh:
        return {name: f"n{index}" for index, name in enumerate(names)}
    return dict(zip(names, (names[i] for i in generator.permutation(len(names))), strict=True))


def renamed(graph: Graph, seed: int, *, fresh: bool) -> Graph:
    """Return the graph with other names of operations, values and rows."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    values = shuffled_names(list(graph.values), generator, fresh=fresh)
    rows = shuffled_names(list(graph.rows), generator, fresh=fresh)
    operations = shuffled_names([op.name for op in graph.operations], generator, fresh=fresh)
    values[""] = rows[""] = ""
    plan = graph.plan
    if plan is not None:
        offsets = {values[name]: offset for name, offset in plan.offsets.items()}
        streams = tuple(
            Stream(tuple(operations[name] for name in stream.operations), stream.rows,
                   {values[name]: ring for name, ring in stream.rings.items()})
            for stream in plan.streams
        )  # fmt: skip
        plan = replace(plan, offsets=offsets, streams=streams)
    return replace(
        graph,
        inputs=tuple(values[name] for name in graph.inputs),
        outputs=tuple(values[name] for name in graph.outputs),
        values={values[n]: replace(v, name=values[n]) for n, v in graph.values.items()},
        parameters={values[n]: ref for n, ref in graph.parameters.items()},
        rows={
            rows[n]: replace(
                row, id=rows[n], derived_from=tuple(rows[name] for name in row.derived_from)
            )
            for n, row in graph.rows.items()
        },
        operations=tuple(_operation(op, operations, values, rows) for op in graph.operations),
        plan=plan,
    )


def _operation(op: Operation, operations: Names, values: Names, rows: Names) -> Operation:
    changed = replace(
        op,
        name=operations[op.name],
        inputs=tuple(values[name] for name in op.inputs),
        outputs=tuple(values[name] for name in op.outputs),
    )
    if not isinstance(changed, QuantableOperation):
        return changed

    def config(held: TensorQuantizationConfig) -> TensorQuantizationConfig:
        return replace(held, row=rows[held.row])

    sides = OperationQuantizationConfig(
        tuple(map(config, changed.config.inputs)), tuple(map(config, changed.config.outputs))
    )
    return replace(changed, config=sides)


def reordered(graph: Graph, seed: int) -> Graph:
    """Return the graph with its operations in another topological order."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    waiting = list(graph.operations)
    made = {*graph.inputs, *graph.parameters, ""}
    order: list[Operation] = []
    while waiting:
        ready = [op for op in waiting if made.issuperset(op.inputs)]
        chosen = ready[int(generator.integers(len(ready)))]
        waiting.remove(chosen)
        order.append(chosen)
        made.update(chosen.outputs)
    return replace(graph, operations=tuple(order))
