"""Where values flow, and where shapes and indices do.

An input slot that only says where elements lie (the shape of a Reshape, the indices of a Gather,
the condition of a Where) hands nothing on: what comes out has the values of the other inputs. All
others do. Tensors of integers and booleans that operations compute are shapes or indices, and so is
everything that is computed from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from quantable.ir import Graph, Operation
from quantable.ir.standard_operations import known_operations

INDEX_SLOTS: dict[str, tuple[int, ...]] = {
    kind: row.index_slots for kind, row in known_operations().items() if row.index_slots
}
"""By kind, the input slots that take shapes or indices."""


def value_slots(operation: Operation) -> list[int]:
    """Return the input slots whose values come out of an operation again, changed or not."""
    index = INDEX_SLOTS.get(operation.kind, ())
    return [slot for slot, name in enumerate(operation.inputs) if name and slot not in index]


def reached_operations(
    graph: Graph, sources: Iterable[str], through: Callable[[str], bool]
) -> set[str]:
    """Return the operations that values flow into, directly or through others.

    Args:
        graph: The graph.
        sources: The values to begin with.
        through: Whether a value that an operation makes hands on what flows into the operation.
    """
    flowing = set(sources)
    found: set[str] = set()
    for op in graph.operations:
        if any(op.inputs[slot] in flowing for slot in value_slots(op)):
            found.add(op.name)
            flowing.update(name for name in op.outputs if name and through(name))
    return found


def shape_or_index_operations(graph: Graph) -> set[str]:
    """Return the operations that work on shapes or indices, in whatever type they are by then."""
    sources = {
        name
        for name, value in graph.values.items()
        if not value.dtype.is_float and value.is_tensor and not graph.is_parameter(name)
    }
    found = reached_operations(graph, sources, lambda _: True)
    made = {op.name for op in graph.operations if sources.intersection(op.outputs)}
    return found | made
