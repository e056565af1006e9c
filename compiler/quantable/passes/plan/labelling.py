"""Choose the form in which every value is stored, so that few bytes are transposed."""

from __future__ import annotations

import math

from quantable.ir import Graph, Operation
from quantable.passes.plan.layout_rules import Freedom, demand, freedom, operands, shape_of
from quantable.passes.plan.layouts import (
    Perm,
    channels_last,
    identity,
    inverse,
    moves_no_data,
)

_SWEEPS = 8


class Labelling:
    """The form of every activation.

    Values around an operation that takes any form, but the same for all operands, are one group
    with one form. Groups around convolutions and pools start as channels-last, the others as they
    are; then each group in turn takes the form with which the operations around it transpose the
    fewest bytes, until nothing changes (iterated conditional modes; Besag 1986).
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._parent: dict[str, str] = {}
        self._forms: dict[str, Perm] = {}
        self._around: dict[str, list[Operation]] = {}
        self._candidates: dict[str, dict[Perm, None]] = {}
        for op in graph.operations:
            if freedom(graph, op) is Freedom.FREE:
                self._join([*operands(graph, op), *op.outputs])
        for op in graph.operations:
            self._visit(op)
        for _ in range(_SWEEPS):
            changed = [self._relabel(root) for root in self._candidates]
            if not any(changed):
                break

    def form(self, value: str) -> Perm:
        """Return the form of a value."""
        return self._forms[self._root(value)]

    def _root(self, name: str) -> str:
        while name in self._parent:
            name = self._parent[name]
        return name

    def _join(self, names: list[str]) -> None:
        first = self._root(names[0])
        for name in names[1:]:
            root = self._root(name)
            if root != first:
                self._parent[root] = first

    def _visit(self, op: Operation) -> None:
        """Collect groups in the order of the operations, with first forms and candidates."""
        kind = freedom(self.graph, op)
        for name in (*operands(self.graph, op), *op.outputs):
            if not name:
                continue
            root, rank = self._root(name), len(shape_of(self.graph, name))
            around = self._around.setdefault(root, [])
            if op not in around[-1:]:
                around.append(op)
            found = self._candidates.setdefault(root, {identity(rank): None})
            found[channels_last(rank)] = None
            if kind is Freedom.SPATIAL:
                self._forms[root] = channels_last(rank)
            self._forms.setdefault(root, identity(rank))
        if op.kind == "Transpose":
            perm = op.ints_attribute("perm")
            self._candidates[self._root(op.inputs[0])][perm] = None
            self._candidates[self._root(op.outputs[0])][inverse(perm)] = None

    def _relabel(self, root: str) -> bool:
        """Give one group its cheapest form; on a tie the present one stays."""
        present = self._forms[root]
        costs = {}
        for candidate in self._candidates[root]:
            self._forms[root] = candidate
            costs[candidate] = self._cost(root)
        cheapest = min(costs, key=lambda perm: (costs[perm], perm != present))
        self._forms[root] = cheapest
        return cheapest != present

    def _cost(self, root: str) -> int:
        """Return the bytes that the operations around a group transpose."""
        conversions: dict[tuple[str, Perm], None] = {}
        for op in self._around[root]:
            wanted = demand(self.graph, op, self.form)
            conversions.update(dict.fromkeys((*wanted.reads, *wanted.makes)))
        return sum(self._bytes(name, perm) for name, perm in conversions)

    def _bytes(self, name: str, perm: Perm) -> int:
        value, shape = self.graph.values[name], shape_of(self.graph, name)
        if moves_no_data(shape, self.form(name), perm):
            return 0
        return math.prod(d for d in shape if isinstance(d, int)) * value.dtype.bits // 8
