"""Which values share storage, from when to when each storage is needed, and how large it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from quantable.ir import Graph, Operation, Value

IN_PLACE: dict[str, tuple[int, ...]] = {
    "int.Requantize": (0,),
    "int.Table": (0,),
    "int.InterpolatedTable": (0,),
    "int.Add": (0, 1),
    "int.Mul": (0, 1),
}
"""Input slots that the output may overwrite: element i of the output needs only element i."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """A piece of storage.

    Attributes:
        values: Names of the values in it, in the order in which they are made.
        size: Bytes.
        first, last: Positions in the schedule of the first write and the last use.
    """

    values: tuple[str, ...]
    size: int
    first: int
    last: int

    def overlaps(self, other: Buffer) -> bool:
        """Whether both are needed at the same time."""
        return self.first <= other.last and other.first <= self.last


def size_bytes(value: Value) -> int:
    """Return the bytes of a value of static shape."""
    assert value.shape is not None
    return math.prod(int(dim) for dim in value.shape) * value.dtype.bits // 8


def border_values(graph: Graph) -> set[str]:
    """Return the integer tensors that the caller owns: behind inputs and before outputs."""
    border = {*graph.inputs, *graph.outputs}
    for op in graph.operations:
        if op.kind == "int.Quantize" and op.inputs[0] in graph.inputs:
            border.add(op.outputs[0])
        if op.kind == "int.Dequantize" and op.outputs[0] in graph.outputs:
            border.add(op.inputs[0])
    return border


class _Classes:
    """Values that share storage (disjoint sets; the first-made value is the root)."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def root(self, name: str) -> str:
        while name in self._parent:
            name = self._parent[name]
        return name

    def join(self, root: str, name: str) -> None:
        a, b = self.root(root), self.root(name)
        if a != b:
            self._parent[b] = a


def arena_buffers(
    graph: Graph, schedule: Sequence[Operation], *, in_place: bool = True
) -> list[Buffer]:
    """Return the buffers that the arena must hold.

    A Reshape shares its input's storage. A value that shares storage with a tensor of the border
    lives there, not in the arena. With `in_place`, an elementwise operation overwrites an input
    of the same size that nothing needs afterwards.
    """
    classes = _Classes()
    for op in schedule:
        if op.kind == "Reshape":
            classes.join(op.inputs[0], op.outputs[0])
    at_border = {classes.root(name) for name in border_values(graph)}
    last = _last_uses(graph, schedule, classes)
    if in_place:
        for index, op in enumerate(schedule):
            _overwrite(graph, op, index, classes, at_border, last)
    return _collect(graph, schedule, classes, at_border)


def _last_uses(graph: Graph, schedule: Sequence[Operation], classes: _Classes) -> dict[str, int]:
    last: dict[str, int] = {}
    for index, op in enumerate(schedule):
        for name in (*op.inputs, *op.outputs):
            if name and not graph.is_parameter(name):
                last[classes.root(name)] = index
    return last


def _overwrite(
    graph: Graph,
    op: Operation,
    index: int,
    classes: _Classes,
    at_border: set[str],
    last: dict[str, int],
) -> None:
    """Join the output with the first input that it may overwrite."""
    if op.kind not in IN_PLACE:
        return
    result = classes.root(op.outputs[0])
    for slot in IN_PLACE[op.kind]:
        name = op.inputs[slot]
        if graph.is_parameter(name):
            continue
        source = classes.root(name)
        fits = _same_layout(graph.values[name], graph.values[op.outputs[0]])
        if {source, result} & at_border or last[source] != index or not fits:
            continue
        classes.join(source, result)
        last[source] = max(last[source], last[result])
        return


def _same_layout(a: Value, b: Value) -> bool:
    """Whether element i of both lies at the same byte (no broadcasting, one element size)."""
    return a.dtype.bits == b.dtype.bits and size_bytes(a) == size_bytes(b)


def _collect(
    graph: Graph, schedule: Sequence[Operation], classes: _Classes, at_border: set[str]
) -> list[Buffer]:
    found: dict[str, Buffer] = {}
    for index, op in enumerate(schedule):
        for name in dict.fromkeys((*op.inputs, *op.outputs)):
            root = classes.root(name)
            if not name or graph.is_parameter(name) or root in at_border:
                continue
            held = found.get(root, Buffer((), 0, index, index))
            values = held.values if name in held.values else (*held.values, name)
            size = max(held.size, size_bytes(graph.values[name]))
            found[root] = Buffer(values, size, held.first, index)
    return list(found.values())


def largest_live_set(buffers: Sequence[Buffer], alignment: int) -> int:
    """Return a lower bound of any arena: the most bytes needed at one time.

    Every buffer but the topmost one takes a multiple of the alignment; the topmost one is at best
    the one that wastes most.
    """
    largest = 0
    for time in sorted({buffer.first for buffer in buffers}):
        sizes = [b.size for b in buffers if b.first <= time <= b.last]
        padded = [-(-size // alignment) * alignment for size in sizes]
        waste = max((p - s for p, s in zip(padded, sizes, strict=True)), default=0)
        largest = max(largest, sum(padded) - waste)
    return largest
