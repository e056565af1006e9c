"""Which operations run inside the kernel of another one: nothing is quantized between them."""

from __future__ import annotations

import itertools

from quantable.ir import Graph, QuantableOperation
from quantable.targets.description import Target
from quantable.text.matcher import find_matches


def fused_pairs(graph: Graph, target: Target) -> set[tuple[str, str]]:
    """Return the names of each two operations that follow each other in a fusion."""
    return {
        (first.name, then.name)
        for pattern in target.fusions
        for match in find_matches(graph, pattern)
        for first, then in itertools.pairwise(match.operations)
    }


def fused_followers(graph: Graph, target: Target) -> dict[str, QuantableOperation]:
    """Return, by name of the first of two fused operations, the second one.

    The first one's output has one reader, the second one in slot 0, and is no output of the graph.
    """
    found = {}
    for first, then in sorted(fused_pairs(graph, target)):
        follower = _only_reader(graph, graph.operation_by_name[first].outputs[0])
        if follower is not None and follower.name == then:
            found[first] = follower
    return found


def _only_reader(graph: Graph, value: str) -> QuantableOperation | None:
    uses = graph.uses(value)
    if len(uses) != 1 or value in graph.outputs:
        return None
    then, slot = uses[0]
    return then if slot == 0 and isinstance(then, QuantableOperation) else None
