"""From when to when every part of every activation is needed, at the planned level.

Time is counted in ticks. An operation, or a turn of it, takes one tick; where kernels make pixels
in ascending order, a window takes one for each pixel of the output. A pixel is a vector along the
last axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantable.ir.graph import Graph
from quantable.ir.integer_operations import WINDOW_OPERATIONS
from quantable.ir.memory_plan import Ring, Stream
from quantable.ir.operation import Operation
from quantable.ir.streaming import Axis, RowOrder, Turn, activations, axes, shape_of

Ticks = npt.NDArray[np.int64]
ALIASES = ("Reshape",)
"""Kinds whose output is their input under another shape."""


@dataclass(frozen=True, slots=True)
class Life:
    """The ticks of a value's parts, which are of equal size and lie one after the other.

    Attributes:
        part_bytes: Size of a part.
        written: By part, the first write.
        read: By part, the last read; the write where nobody reads it.
    """

    part_bytes: int
    written: Ticks
    read: Ticks

    @property
    def first(self) -> int:
        """The first write of any part."""
        return int(self.written.min())

    @property
    def last(self) -> int:
        """The last read of any part."""
        return int(self.read.max())


def value_bytes(graph: Graph, name: str) -> int:
    """Return the bytes of a value of static shape."""
    value = graph.values[name]
    assert value.shape is not None
    return (math.prod(int(dim) for dim in value.shape) * value.dtype.bits + 7) // 8


def steps(graph: Graph, streams: Sequence[Stream]) -> Iterator[Turn]:
    """Yield what runs, in order: whole operations, and those of streams in turns."""
    by_name = {op.name: op for op in graph.operations}
    held = {name: stream for stream in streams for name in stream.operations}
    for op in graph.operations:
        stream = held.get(op.name)
        if stream is None:
            yield Turn(op)
        elif op.name == stream.operations[0]:
            operations = [by_name[name] for name in stream.operations]
            yield from RowOrder(graph, operations).turns(stream)


class Lifetimes:
    """The lives of all activations under a schedule.

    Args:
        graph: Static shapes; the schedule is the order of its operations.
        streams: What runs in turns.
        is_ordered: Whether kernels make pixels in ascending order.

    Attributes:
        ticks: How many there are.
        lives: By the name of the value that others are views of.
        roots: By name of a view, the value.
        operations: By the first tick of each step, its operation.
    """

    def __init__(self, graph: Graph, streams: Sequence[Stream], *, is_ordered: bool) -> None:
        self._graph, self._is_ordered = graph, is_ordered
        self.ticks = 0
        self.lives: dict[str, Life] = {}
        self.roots: dict[str, str] = {}
        self.operations: dict[int, Operation] = {}
        self.rings = {name: ring for stream in streams for name, ring in stream.rings.items()}
        self._axes = {op.name: axes(graph, op) for op in graph.operations}
        for step in steps(graph, streams):
            self._run(step)

    def root(self, name: str) -> str:
        """Return the value that a value is a view of: itself, most often."""
        return self.roots.get(name, name)

    def _run(self, step: Turn) -> None:
        op = step.operation
        self.operations[self.ticks] = op
        if op.kind in ALIASES and not self._graph.is_parameter(op.inputs[0]):
            self.roots[op.outputs[0]] = self.root(op.inputs[0])
            return
        for name in activations(self._graph, op):
            self._read(step, name)
        taken = 1
        for name in op.outputs:
            if name:
                taken = max(taken, self._write(step, name))
        self.ticks += taken

    def _write(self, step: Turn, name: str) -> int:
        """Note the writes of a value and return how many ticks they take."""
        life = self._life(name)
        parts = self._parts(step, name, life)
        count = life.written[parts].size if self._is_pixelwise(step.operation) else 1
        ticks = self.ticks + np.arange(count)
        life.written[parts] = ticks
        life.read[parts] = np.maximum(life.read[parts], ticks)
        return count

    def _read(self, step: Turn, name: str) -> None:
        life = self._life(self.root(name))
        op, held = step.operation, self._axes[step.operation.name]
        y = shape_of(self._graph, op.outputs[0])
        if not self._is_pixelwise(op):
            parts = self._parts(step, name, life)
            life.read[parts] = np.maximum(life.read[parts], self.ticks)
        elif life.read.size != math.prod(shape_of(self._graph, name)[:-1]):
            np.maximum(life.read, self.ticks + math.prod(y[:-1]) - 1, out=life.read)
        elif held is None:  # int.Linear: rows are pixels
            np.maximum(life.read, self.ticks + np.arange(life.read.size), out=life.read)
        else:
            rows, columns = held
            first, end = step.first, step.first + (step.rows or rows.outputs)
            for n, image in enumerate(np.split(life.read, y[0])):
                tick = self.ticks + n * rows.outputs * columns.outputs
                self._read_rows(image, rows, columns, first, end, tick)

    def _parts(self, step: Turn, name: str, life: Life) -> slice:
        """Return the parts of a value that a turn makes, or reads element by element."""
        if not step.rows:
            return slice(None)
        width = life.written.size // shape_of(self._graph, name)[1]
        return slice(step.first * width, (step.first + step.rows) * width)

    def _read_rows(
        self, read: Ticks, rows: Axis, columns: Axis, first: int, end: int, tick: int
    ) -> None:
        """Note when the outputs of rows [first, end) read an image last."""
        low, high = rows.first(first), rows.needed(end)
        if high <= low:
            return
        by_row = _last_reader(rows, np.arange(low, high), first, end)
        by_column = _last_reader(columns, np.arange(columns.inputs), 0, columns.outputs)
        ticks = tick + (by_row - first)[:, None] * columns.outputs + by_column
        part = read.reshape(rows.inputs, columns.inputs)[low:high]
        np.maximum(part, ticks, out=part)

    def _life(self, name: str) -> Life:
        held = self.lives.get(name)
        if held is None:
            shape = shape_of(self._graph, name)
            bits = self._graph.values[name].dtype.bits
            parts = max(math.prod(shape[:-1]), 1)
            size = value_bytes(self._graph, name)
            if not self._is_ordered or bits % 8 or not size:
                parts = 1
            held = Life(size // parts, np.full(parts, -1), np.full(parts, -1))
            self.lives[name] = held
        return held

    def _is_pixelwise(self, op: Operation) -> bool:
        """Whether kernels make the pixels of an output in order, each from its window.

        Elementwise ones do not: threads may share them.
        """
        is_window = self._axes[op.name] is not None and op.kind in WINDOW_OPERATIONS
        return self._is_ordered and (is_window or op.kind == "int.Linear")


def _last_reader(axis: Axis, inputs: Ticks, first: int, end: int) -> Ticks:
    """Return for positions of the input the last output of [first, end) that may need them."""
    return np.clip((inputs + axis.pad) // axis.stride, first, end - 1)


def ring_life(life: Life, ring: Ring, rows: int) -> Life:
    """Return the life of the places of a ring, all taken from the first write to the last read."""
    size = life.part_bytes * life.written.size // rows * ring.rows
    return Life(size, np.array([life.first]), np.array([life.last]))
