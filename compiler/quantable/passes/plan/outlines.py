"""What streams depend on, without names: equal blocks of a network are planned once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from quantable.ir import Graph
from quantable.ir.streaming import activations, axes, shape_of


@dataclass(frozen=True, slots=True)
class Outline:
    """A run of operations without its names.

    Attributes:
        key: Equal where a stream of the operations would run and need the same.
        values: The names of their values, by number.
    """

    key: tuple[Any, ...]
    values: tuple[str, ...]


class Outlines:
    """Makes the outlines of the operations of a graph.

    Args:
        graph: The graph.
        border: Values of the caller.
    """

    def __init__(self, graph: Graph, border: set[str]) -> None:
        self._graph, self._border = graph, border
        self._readers: dict[str, list[int]] = defaultdict(list)
        for index, op in enumerate(graph.operations):
            for name in activations(graph, op):
                self._readers[name].append(index)

    def of(self, first: int, end: int) -> Outline:
        """Return the outline of operations [first, end), all of them streamable."""
        graph, numbers = self._graph, dict[str, int]()
        rows: list[object] = []
        for op in graph.operations[first:end]:
            names = (*activations(graph, op), *op.outputs)
            for name in names:
                numbers.setdefault(name, len(numbers))
            is_conv = op.kind == "int.Conv"
            weight = (
                (shape_of(graph, op.inputs[1]), op.int_attribute("group", 1)) if is_conv else ()
            )
            rows.append((op.kind, axes(graph, op), weight, tuple(numbers[n] for n in names)))
        values = tuple(self._value(name, first, end) for name in numbers)
        return Outline((tuple(rows), values), tuple(numbers))

    def _value(self, name: str, first: int, end: int) -> tuple[object, ...]:
        readers = self._readers[name]
        inside = tuple(index - first for index in readers if first <= index < end)
        before, behind = (any(map(test, readers)) for test in (first.__gt__, end.__le__))
        bits = self._graph.values[name].dtype.bits
        return shape_of(self._graph, name), bits, name in self._border, inside, before, behind
