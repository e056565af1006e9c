"""Order operations so that little memory is needed at one time."""

from __future__ import annotations

from collections.abc import Sequence

from quantable.ir import Graph, Operation
from quantable.ir.lifetimes import value_bytes
from quantable.ir.memory_check import border_values
from quantable.passes.plan.storage import arena_buffers, largest_live_set


def schedule(graph: Graph, alignment: int, *, in_place: bool) -> tuple[Operation, ...]:
    """Return the better of the present order and a greedy one; the present one on a tie."""
    orders = [graph.operations, _greedy(graph)]
    needed = [
        largest_live_set(arena_buffers(graph, order, in_place=in_place), alignment)
        for order in orders
    ]
    return orders[1] if needed[1] < needed[0] else orders[0]


def _greedy(graph: Graph) -> tuple[Operation, ...]:
    """List scheduling: of the operations that are ready, the one that frees most memory."""
    border = border_values(graph)
    readers = {name: {op.name for op, _ in uses} for name, uses in graph.consumers.items()}
    made = {*graph.inputs, *graph.parameters, ""}
    waiting = list(graph.operations)
    order: list[Operation] = []
    while waiting:
        ready = [op for op in waiting if made.issuperset(op.inputs)]
        chosen = min(ready, key=lambda op: _growth(graph, op, readers, border))
        waiting.remove(chosen)
        order.append(chosen)
        made.update(chosen.outputs)
        for name in chosen.inputs:
            readers[name].discard(chosen.name)
    return tuple(order)


def _growth(
    graph: Graph, operation: Operation, readers: dict[str, set[str]], border: set[str]
) -> int:
    """Return the bytes that an operation needs more than it frees."""

    def total(names: Sequence[str]) -> int:
        inside = [n for n in names if n and n not in border and not graph.is_parameter(n)]
        return sum(value_bytes(graph, n) for n in inside)

    freed = [n for n in dict.fromkeys(operation.inputs) if readers.get(n) == {operation.name}]
    return total(operation.outputs) - total(freed)
