"""Which operations run in turns, some rows at a time, so that less memory is needed.

Where the most memory is needed, all runs of consecutive operations around are tried as a stream,
and the one that needs least is taken, again and again until that helps no more. Rows in rings in
place of whole tensors are what patch-free inference of inverted residuals does by hand (Lin et al.,
"MCUNetV2", 2021; TinyEngine); here the order follows from the windows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from quantable.ir import Graph, Operation, Ring, Stream
from quantable.ir.integer_operations import ELEMENTWISE_OPERATIONS
from quantable.ir.lifetimes import Life, Lifetimes, value_bytes
from quantable.ir.memory_check import border_values, placed_life
from quantable.ir.streaming import RowOrder, Turn, activations, is_streamable, shape_of
from quantable.passes.plan.outlines import Outlines
from quantable.passes.plan.storage import Buffer, live_bytes

LONGEST = 16
"""Operations in a stream."""
_ROWS = range(1, 9)
_MOST_WASTE = 0.02
"""How many products more than without streams kernels may compute in tiles that are not full."""
_GAIN = 16
"""The part of the memory that another stream must save."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """A run of operations as a stream (None: as they are), and what memory it needs."""

    first: int
    end: int
    stream: Stream | None
    peak: int


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of an outline: rows of a turn, rings, bytes more than before it are needed."""

    rows: int
    rings: tuple[Ring | None, ...]
    more: int


def find_streams(graph: Graph, tile_pixels: int, *, is_tight: bool = False) -> tuple[Stream, ...]:
    """Return streams that lower the most memory that is needed at one time.

    Args:
        graph: Static shapes, in the order in which it will run.
        tile_pixels: Pixels that a kernel computes at once; rows are chosen so that most are used.
        is_tight: Whether memory counts alone, not the tiles.
    """
    return _Search(graph, 1 if is_tight else tile_pixels).run()


class _Search:
    def __init__(self, graph: Graph, tile_pixels: int) -> None:
        self._graph, self._tile = graph, tile_pixels
        self._border = border_values(graph)
        self._can = [is_streamable(graph, op) for op in graph.operations]
        self._through = self._bytes_between()
        self._outlines = Outlines(graph, self._border)
        self._known: dict[object, _Known | None] = {}

    def run(self) -> tuple[Stream, ...]:
        """Return the streams, in the order of the graph."""
        parts = [self._measured(i, i + 1, None) for i in range(len(self._graph.operations))]
        while parts:
            worst = max(range(len(parts)), key=lambda i: parts[i].peak)
            best = self._best(parts, worst)
            if best is None:
                break
            parts = [p for p in parts if p.end <= best.first or p.first >= best.end]
            parts = sorted([*parts, best], key=lambda p: p.first)
        return tuple(part.stream for part in parts if part.stream is not None)

    def _best(self, parts: list[_Trial], worst: int) -> _Trial | None:
        """Return the stream around the part that needs most which needs least."""
        limit = parts[worst].peak - max(parts[worst].peak // _GAIN, 1)
        best: _Trial | None = None
        starts, ends = {p.first for p in parts}, {p.end for p in parts}
        windows = [
            (first, end)
            for first in starts if parts[worst].end - LONGEST <= first <= parts[worst].first
            for end in ends if parts[worst].end <= end <= first + LONGEST
            if end - first > parts[worst].end - parts[worst].first and all(self._can[first:end])
        ]  # fmt: skip
        for first, end in sorted(windows, key=lambda w: (self._least(*w), w[1] - w[0], w)):
            if self._least(first, end) > limit:
                break
            trial = self._trial(first, end)
            if trial is not None and trial.peak <= limit:
                best, limit = trial, trial.peak - 1
        return best

    def _least(self, first: int, end: int) -> int:
        return max(self._through[first], self._through[end])

    def _trial(self, first: int, end: int) -> _Trial | None:
        """Return operations as the stream of the fewest rows that kernels take well."""
        outline = self._outlines.of(first, end)
        if outline.key not in self._known:
            operations, found = self._graph.operations[first:end], None
            for rows in _ROWS:
                stream = make_stream(self._graph, operations, rows, self._border, self._tile)
                if stream is not None:
                    trial = self._measured(first, end, stream)
                    found = _Known(rows, tuple(map(stream.rings.get, outline.values)),
                                   trial.peak - self._through[first])  # fmt: skip
                    break
            self._known[outline.key] = found
        known = self._known[outline.key]
        if known is None:
            return None
        rings = {n: r for n, r in zip(outline.values, known.rings, strict=True) if r}
        names = tuple(op.name for op in self._graph.operations[first:end])
        stream = Stream(names, known.rows, rings)
        return _Trial(first, end, stream, known.more + self._through[first])

    def _bytes_between(self) -> list[int]:
        """Return the bytes that are needed before each operation, and after the last one."""
        made = {n: i for i, op in enumerate(self._graph.operations) for n in op.outputs if n}
        found = np.zeros(len(self._graph.operations) + 2, np.int64)
        for name, index in made.items():
            if name not in self._border:
                last = max((i for i, op in enumerate(self._graph.operations) if name in op.inputs),
                           default=index)  # fmt: skip
                found[index + 1] += value_bytes(self._graph, name)
                found[last + 1] -= value_bytes(self._graph, name)
        return [int(total) for total in np.cumsum(found)[:-1]]

    def _measured(self, first: int, end: int, stream: Stream | None) -> _Trial:
        """Return a run of operations with the most bytes needed at any tick of it."""
        operations = self._graph.operations[first:end]
        part = replace(self._graph, operations=operations)
        lives = Lifetimes(part, (stream,) if stream else (), is_ordered=True)
        outside = {n for op in self._graph.operations[end:] for n in op.inputs}
        buffers, passing = [], self._through[first]
        for name, life in lives.lives.items():
            if name in self._border:
                continue
            shown = placed_life(self._graph, lives, name)
            if life.first < 0:
                passing -= value_bytes(self._graph, name)
            if name in outside or any(lives.root(v) == name for v in outside):
                shown = Life(shown.part_bytes, shown.written, np.full_like(shown.read, lives.ticks))
            buffers.append(Buffer((name,), 0, shown.first, shown.last, shown))
        peak = int(live_bytes(buffers)[1:].max(initial=0)) + passing
        return _Trial(first, end, stream, peak)


def make_stream(
    graph: Graph, operations: Sequence[Operation], rows: int, border: set[str], tile_pixels: int
) -> Stream | None:
    """Return operations as a stream, or None if too much of the kernels' tiles would be wasted.

    Args:
        graph: The graph.
        operations: Streamable ones, one after the other.
        rows: Of the last operation, in each turn.
        border: Values of the caller.
        tile_pixels: See `find_streams`.
    """
    inside = {op.name for op in operations}
    kept = [
        op.outputs[0] for op in operations[:-1]
        if op.outputs[0] not in border and _is_inside(graph, op.outputs[0], inside)
    ]  # fmt: skip
    kept = [name for name in kept if not _becomes_output(graph, name, kept, operations, border)]
    whole = {name: Ring(shape_of(graph, name)[1]) for name in kept}
    names = tuple(op.name for op in operations)
    order = RowOrder(graph, operations)
    free = list(order.turns(Stream(names, rows, whole)))
    for is_rounded in (False, True):
        rings = {name: _ring(graph, name, order, free, is_rounded) for name in kept}
        stream = Stream(names, rows, rings)
        if _waste(graph, order.turns(stream), operations, tile_pixels) <= _MOST_WASTE:
            return stream
    return None


def _is_inside(graph: Graph, name: str, inside: set[str]) -> bool:
    readers = {reader.name for reader, _ in graph.uses(name)}
    return bool(readers) and readers <= inside


def _becomes_output(
    graph: Graph, name: str, kept: Sequence[str], operations: Sequence[Operation], border: set[str]
) -> bool:
    """Whether a value should lie where a result lies that is made of it element by element."""
    readers = [op for op in operations if name in op.inputs]
    last = readers[-1]
    if len(readers) != 1 or last.kind not in ELEMENTWISE_OPERATIONS or last.outputs[0] in kept:
        return False
    if any(_is_left(graph, n, last, {*kept, *border}) for n in activations(graph, last)):
        return False
    bits = graph.values[last.outputs[0]].dtype.bits
    candidates = [
        n for n in activations(graph, last)
        if n in kept and graph.values[n].dtype.bits == bits
        and {reader.name for reader, _ in graph.uses(n)} == {last.name}
    ]  # fmt: skip
    return candidates[-1:] == [name]


def _is_left(graph: Graph, name: str, last: Operation, outside: set[str]) -> bool:
    """Whether a whole input is read last by an operation, whose result then may take its place."""
    x, y = graph.values[name], graph.values[last.outputs[0]]
    if name in outside or x.dtype.bits != y.dtype.bits or x.shape != y.shape:
        return False
    order = {op.name: i for i, op in enumerate(graph.operations)}
    return order[last.name] == max(order[reader.name] for reader, _ in graph.uses(name))


def _ring(graph: Graph, name: str, order: RowOrder, run: Sequence[Turn], is_rounded: bool) -> Ring:
    """Return the smallest ring that keeps what is still read.

    Args:
        graph: The graph.
        name: The value.
        order: Of its stream.
        run: What its stream does where all rows are kept.
        is_rounded: Make the ring so large that no turn has to be cut at its end.
    """
    rows = 1
    writes = [turn for turn in run if name in turn.operation.outputs]
    height, lowest = shape_of(graph, name)[1], shape_of(graph, name)[1]
    for turn in reversed(run):
        if name in turn.operation.inputs:
            lowest = min(lowest, order.rows[turn.operation.name].first(turn.first))
        if name in turn.operation.outputs:
            end = turn.first + turn.rows
            rows = max(rows, turn.rows, end - lowest)
    if is_rounded:
        counts = [turn.rows for turn in writes]
        usual = max(counts, key=counts.count)
        rows = -(-rows // usual) * usual
    rows = min(rows, height)
    return Ring(rows, -writes[0].rows % rows)


def _waste(
    graph: Graph, run: Iterable[Turn], operations: Sequence[Operation], tile_pixels: int
) -> float:
    """Return the part of all products that tiles compute in vain, more than without a stream."""
    products = {
        op.name: math.prod(shape_of(graph, op.inputs[1]))
        for op in operations if op.kind == "int.Conv" and op.int_attribute("group", 1) == 1
    }  # fmt: skip
    wasted, needed = 0, 0
    widths = {op.name: shape_of(graph, op.outputs[0])[2] for op in operations}
    for turn in run:
        name = turn.operation.name
        if name in products:
            pixels = turn.rows * widths[name]
            needed += pixels * products[name]
            wasted += -pixels % tile_pixels * products[name]
    for op in operations:
        if op.name in products:
            pixels = shape_of(graph, op.outputs[0])[1] * widths[op.name]
            wasted -= -pixels % tile_pixels * products[op.name]
    return wasted / needed if needed else 0.0
