"""Where every value of a planned graph is stored, as C expressions."""

from __future__ import annotations

from dataclasses import dataclass

from quantable.backends.c.border import Border
from quantable.backends.c.text import C_TYPES
from quantable.ir import DType, Graph, InvariantError

ALIASES = ("Reshape",)
"""Kinds whose output is their input under another shape."""


@dataclass(frozen=True, slots=True)
class Place:
    """A storage place: 'in' or 'out' and its index, or 'arena' and the byte offset."""

    kind: str
    at: int

    def pointer(self, dtype: DType) -> str:
        """Return an expression of type pointer to element; `t` holds the tensors of a run."""
        if self.kind != "arena":
            return f"t->{self.kind}{self.at}"
        base = f"t->arena + {self.at}" if self.at else "t->arena"
        if dtype is DType.UINT8:
            return base
        return f"({C_TYPES[dtype]} *)(void *)({base})"


class Storage:
    """Finds the place of each activation.

    A value of the border lives in the caller's tensor, another one at its offset in the arena. A
    value that has neither is a view, through Reshape, of one that has.
    """

    def __init__(self, graph: Graph, border: Border) -> None:
        self._own: dict[str, Place] = {}
        for index, tensor in reversed(list(enumerate(border.outputs))):
            self._own[tensor.value] = Place("out", index)
        for index, tensor in enumerate(border.inputs):
            self._own[tensor.value] = Place("in", index)
        if graph.plan is not None:
            for name, offset in graph.plan.offsets.items():
                self._own.setdefault(name, Place("arena", offset))
        self._views = self._find_views(graph)

    def _find_views(self, graph: Graph) -> dict[str, Place]:
        group_of: dict[str, list[str]] = {}
        for op in graph.operations:
            if op.kind in ALIASES:
                group = group_of.setdefault(op.inputs[0], [op.inputs[0]])
                group.append(op.outputs[0])
                group_of[op.outputs[0]] = group
        rank = {"in": 0, "arena": 1, "out": 2}
        views = {}
        for name, group in group_of.items():
            places = [self._own[member] for member in group if member in self._own]
            if places:
                views[name] = min(places, key=lambda place: rank[place.kind])
        return views

    def place(self, value: str) -> Place:
        """Return the place of an activation.

        Raises:
            InvariantError: The memory plan does not hold it.
        """
        found = self._own.get(value, self._views.get(value))
        if found is None:
            raise InvariantError("has no place in the memory plan", where=f"value '{value}'")
        return found
