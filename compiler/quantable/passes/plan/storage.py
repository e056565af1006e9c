"""Which values share storage, from when to when each part of it is needed, and how large it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from quantable.ir import Graph, Operation, Stream
from quantable.ir.integer_operations import ELEMENTWISE_OPERATIONS
from quantable.ir.lifetimes import Life, Lifetimes, ring_life, value_bytes
from quantable.ir.memory_check import border_values
from quantable.ir.streaming import shape_of


@dataclass(frozen=True, slots=True)
class Buffer:
    """A piece of storage.

    Attributes:
        values: Names of the values in it, in the order in which they are made.
        size: Bytes.
        first, last: Ticks of the first write and the last use.
        life: The ticks of its parts; None where all are needed from the first to the last.
    """

    values: tuple[str, ...]
    size: int
    first: int
    last: int
    life: Life | None = None

    def overlaps(self, other: Buffer) -> bool:
        """Whether both are needed at the same time."""
        return self.first <= other.last and other.first <= self.last

    def gap(self, above: Buffer) -> int:
        """Return how many bytes behind its own beginning a buffer above may begin at the earliest.

        That is its size, or less where it is written while the one above is read: at no time may
        what is written reach what is needed. Negative where it may even begin first.
        """
        if self.life is None or above.life is None or self.first <= above.first:
            return self.size
        needed = np.maximum.accumulate(above.life.read)
        parts = np.searchsorted(needed, self.life.written)  # the first that is needed then
        ends = (np.arange(self.life.written.size) + 1) * self.life.part_bytes
        met = parts < needed.size
        if not met.any():
            return -above.size
        return int((ends[met] - parts[met] * above.life.part_bytes).max())


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
    graph: Graph,
    schedule: Sequence[Operation],
    *,
    in_place: bool = True,
    streams: Sequence[Stream] = (),
    is_ordered: bool = False,
) -> list[Buffer]:
    """Return the buffers that the arena must hold.

    A Reshape shares its input's storage. A value that shares storage with a tensor of the border
    lives there, not in the arena. With `in_place`, an elementwise operation overwrites an input
    of the same size that nothing needs afterwards.
    """
    ordered = replace(graph, operations=tuple(schedule))
    lifetimes = Lifetimes(ordered, streams, is_ordered=is_ordered)
    return _Storage(ordered, lifetimes, streams).buffers(in_place=in_place)


class _Storage:
    def __init__(self, graph: Graph, lifetimes: Lifetimes, streams: Sequence[Stream]) -> None:
        self._graph, self._lifetimes = graph, lifetimes
        self._stream_of = {name: stream for stream in streams for name in stream.operations}
        self._classes = _Classes()
        self._lives = dict(lifetimes.lives)
        for view, root in lifetimes.roots.items():
            self._classes.join(root, view)
        self._border = {self._classes.root(name) for name in border_values(graph)}

    def buffers(self, *, in_place: bool) -> list[Buffer]:
        """Return a buffer for every class of values that is not the border's."""
        if in_place:
            for op in self._graph.operations:
                self._overwrite(op)
        held: dict[str, list[str]] = {}
        for op in self._graph.operations:
            for name in (*op.inputs, *op.outputs):
                if name and not self._graph.is_parameter(name):
                    names = held.setdefault(self._classes.root(name), [])
                    if name not in names:
                        names.append(name)
        return [
            self._buffer(root, names) for root, names in held.items() if root not in self._border
        ]

    def _buffer(self, root: str, names: list[str]) -> Buffer:
        life, ring = self._lives[root], self._lifetimes.rings.get(root)
        if ring:
            life = ring_life(life, ring, shape_of(self._graph, root)[1])
        size = max([life.part_bytes * life.written.size,
                    *(value_bytes(self._graph, n) for n in names if not ring)])  # fmt: skip
        parts = life if life.written.size > 1 or ring is None else None
        return Buffer(tuple(names), size, life.first, life.last, parts)

    def _overwrite(self, op: Operation) -> None:
        """Join the output with an input that it may overwrite, best one that only it needs."""
        if op.kind not in ELEMENTWISE_OPERATIONS:
            return
        result = self._classes.root(op.outputs[0])
        names = [n for n in op.inputs[: ELEMENTWISE_OPERATIONS[op.kind]]
                 if not self._graph.is_parameter(n)]  # fmt: skip
        for name in sorted(names, key=lambda n: not self._is_of_stream(op, n)):
            source = self._classes.root(name)
            if self._fits(source, result) and self._is_same_size(name, op.outputs[0]):
                one, other = self._lives.pop(source), self._lives.pop(result)
                read = np.maximum(one.read, other.read)
                self._lives[source] = Life(one.part_bytes, one.written, read)
                self._classes.join(source, result)
                return

    def _is_of_stream(self, op: Operation, name: str) -> bool:
        stream, producer = self._stream_of.get(op.name), self._graph.producers.get(name)
        return stream is not None and producer is not None and producer.name in stream.operations

    def _fits(self, source: str, result: str) -> bool:
        """Whether all reads of a source are over when the same part of the result is written."""
        if {source, result} & (self._border | self._lifetimes.rings.keys()) or source == result:
            return False
        one, other = self._lives[source], self._lives[result]
        if one.read.size != other.written.size:
            return False
        return bool((one.read <= other.written).all())

    def _is_same_size(self, a: str, b: str) -> bool:
        """Whether element i of both lies at the same byte (no broadcasting, one element size)."""
        one, other = self._graph.values[a], self._graph.values[b]
        sizes = {value_bytes(self._graph, name) for name in (a, b)}
        return one.dtype.bits == other.dtype.bits and len(sizes) == 1


def largest_live_set(buffers: Sequence[Buffer], alignment: int) -> int:
    """Return a lower bound of any arena: the most bytes needed at one time.

    Every buffer but the topmost one takes a multiple of the alignment; the topmost one is at best
    the one that wastes most. Of buffers with parts only those count that are needed.
    """
    if any(buffer.life is not None and buffer.life.written.size > 1 for buffer in buffers):
        return int(live_bytes(buffers).max(initial=0))
    largest = 0
    for time in sorted({buffer.first for buffer in buffers}):
        sizes = [b.size for b in buffers if b.first <= time <= b.last]
        padded = [-(-size // alignment) * alignment for size in sizes]
        waste = max((p - s for p, s in zip(padded, sizes, strict=True)), default=0)
        largest = max(largest, sum(padded) - waste)
    return largest


def live_bytes(buffers: Sequence[Buffer]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return by tick (those before the first one first) the bytes that are needed."""
    end = max((buffer.last for buffer in buffers), default=-1) + 3
    change = np.zeros(end, np.int64)
    for buffer in buffers:
        life = buffer.life
        if life is None:
            life = Life(buffer.size, np.array([buffer.first]), np.array([buffer.last]))
        np.add.at(change, life.written + 1, life.part_bytes)
        np.add.at(change, life.read + 2, -life.part_bytes)
    return np.cumsum(change)
