"""Which compute operations are at the edge of a network: the one place of this rule.

Few bits cost the most accuracy in the first and in the last layer: the one sees the data itself,
the other decides. A target may give both more bits (`edge` of a scheme).
"""

from __future__ import annotations

from quantable.ir import Graph
from quantable.targets.description import Target


def edge_operations(graph: Graph, target: Target) -> set[str]:
    """Return the names of the first and of the last compute operations.

    An operation is a first one where an input of the graph reaches it, and a last one where what it
    makes reaches an output of the graph, through no other compute operation. Where an operation
    runs (its platform) does not matter: one that stays float is a compute operation, too.
    """
    compute = {op.name for op in graph.operations if _is_compute(target, op.kind)}
    fresh = set(graph.inputs)
    first: set[str] = set()
    for op in graph.operations:
        if fresh.isdisjoint(op.inputs):
            continue
        if op.name in compute:
            first.add(op.name)
        else:
            fresh.update(op.outputs)
    ending = set(graph.outputs)
    last: set[str] = set()
    for op in reversed(graph.operations):
        if ending.isdisjoint(op.outputs):
            continue
        if op.name in compute:
            last.add(op.name)
        else:
            ending.update(op.inputs)
    return first | last


def _is_compute(target: Target, kind: str) -> bool:
    rule = target.rule(kind)
    return rule is not None and rule.role == "compute"
