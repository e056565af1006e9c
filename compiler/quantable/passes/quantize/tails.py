"""Which scheme every activation has; tail tensors get the tail form of theirs."""

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


def value_schemes(graph: Graph, target: Target) -> dict[str, str]:
    """Return the scheme name of every float activation ('float': not quantized)."""
    tails = tail_values(graph, target)

    def of(value: str, scheme: str) -> str:
        tail = target.schemes[scheme].tail
        return tail if value in tails and tail else scheme

    found = {name: of(name, "activation") for name in graph.inputs}
    for op in graph.operations:
        rule = target.rules.get(op.kind) if isinstance(op, QuantableOperation) else None
        for index, name in enumerate(op.outputs):
            scheme = rule.output_scheme(index) if rule else "activation"
            if rule is not None and rule.role == "passive" and op.inputs[0] in found:
                found[name] = found[op.inputs[0]]
            elif name:
                found[name] = of(name, scheme) if scheme != FLOAT else FLOAT
    return {name: s for name, s in found.items() if graph.values[name].dtype.is_float}
