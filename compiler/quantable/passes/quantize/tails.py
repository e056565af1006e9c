"""Which tensors are tails: no compute operation can be reached from them."""

from __future__ import annotations

from quantable.ir import Graph, QuantableOperation
from quantable.targets.description import FLOAT, Target


def tail_values(graph: Graph, target: Target) -> set[str]:
    """Return the values from which no compute operation can be reached.

    Where the target leaves tails float, an operation that was dispatched all the same (by the
    user's table) counts as one that needs its input quantized.
    """
    leaves_float = target.schemes["activation"].tail == FLOAT
    leading: set[str] = set()
    for op in reversed(graph.operations):
        if not isinstance(op, QuantableOperation):
            continue
        needs = leaves_float or target.rules[op.kind].role == "compute"
        if needs or any(out in leading for out in op.outputs):
            leading.update(op.inputs)
    return {name for name in graph.values if name not in leading}
