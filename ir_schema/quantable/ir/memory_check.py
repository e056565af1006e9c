"""Proof that a memory plan overwrites nothing that is still needed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from quantable.ir.graph import Graph
from quantable.ir.integer_operations import ELEMENTWISE_OPERATIONS
from quantable.ir.lifetimes import Life, Lifetimes, ring_life, value_bytes
from quantable.ir.memory_plan import MemoryPlan, Stream
from quantable.ir.streaming import is_streamable, shape_of
from quantable.ir.values import Value

Finding = tuple[str, str]
"""Where, and what is wrong."""


def border_values(graph: Graph) -> set[str]:
    """Return the integer tensors that the caller owns: behind inputs and before outputs."""
    border = {*graph.inputs, *graph.outputs}
    for op in graph.operations:
        if op.kind == "int.Quantize" and op.inputs[0] in graph.inputs:
            border.add(op.outputs[0])
        if op.kind == "int.Dequantize" and op.outputs[0] in graph.outputs:
            border.add(op.inputs[0])
    return border


def memory_faults(graph: Graph, plan: MemoryPlan) -> Iterator[Finding]:
    """Yield what is wrong with the streams and the places of a plan."""
    faults = list(_stream_faults(graph, plan))
    yield from faults
    if faults or not all(_is_static(graph.values[n]) for op in graph.operations
                         for n in (*op.inputs, *op.outputs) if n):  # fmt: skip
        return
    lifetimes = Lifetimes(graph, plan.streams, is_ordered=plan.is_ordered)
    yield from _ring_faults(graph, lifetimes)
    yield from _view_faults(plan, lifetimes)
    yield from _overlap_faults(graph, plan, lifetimes)


def _is_static(value: Value) -> bool:
    return value.shape is not None and all(isinstance(dim, int) for dim in value.shape)


def _stream_faults(graph: Graph, plan: MemoryPlan) -> Iterator[Finding]:
    order = {op.name: index for index, op in enumerate(graph.operations)}
    border, taken = border_values(graph), set[str]()
    for stream in plan.streams:
        where = f"stream '{stream.operations[0] if stream.operations else ''}'"
        places = [order.get(name, -1) for name in stream.operations]
        if not places or -1 in places or places != list(range(places[0], places[0] + len(places))):
            yield where, "its operations are not consecutive ones of the graph"
            continue
        operations = graph.operations[places[0] : places[-1] + 1]
        if stream.rows < 1 or taken.intersection(stream.operations):
            yield where, "makes no rows, or has an operation of another stream"
        taken.update(stream.operations)
        if not plan.is_ordered:
            yield where, "counts on kernels that make pixels in ascending order"
        for op in operations:
            if not is_streamable(graph, op):
                yield op.where(), "cannot run row by row"
        yield from _kept_faults(graph, stream, border, where)


def _kept_faults(graph: Graph, stream: Stream, border: set[str], where: str) -> Iterator[Finding]:
    names = set(stream.operations)
    for name, ring in stream.rings.items():
        producer = graph.producers.get(name)
        readers = {reader.name for reader, _ in graph.uses(name)}
        if producer is None or not {producer.name, *readers} <= names or name in border:
            yield where, f"keeps rows of '{name}', which is not of this stream alone"
        if ring.rows < 1 or not 0 <= ring.phase < ring.rows:
            yield where, f"keeps {ring.rows} rows of '{name}' from phase {ring.phase} on"


def _ring_faults(graph: Graph, lifetimes: Lifetimes) -> Iterator[Finding]:
    """Yield rows of rings that are overwritten before their last read."""
    for name, ring in lifetimes.rings.items():
        height = shape_of(graph, name)[1]
        life = lifetimes.lives[name]
        written, read = (t.reshape(height, -1) for t in (life.written, life.read))
        early = read[: -ring.rows].max(axis=1) >= _first_writes(written[ring.rows :])
        if early.any():
            row = int(early.argmax())
            yield f"value '{name}'", f"row {row} is overwritten before it is read last"


def _first_writes(written: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the first write of each row; of one that is never made, one after all reads."""
    least = written.min(axis=1, initial=np.iinfo(np.int64).max)
    return np.where(least < 0, np.iinfo(np.int64).max, least)


def _view_faults(plan: MemoryPlan, lifetimes: Lifetimes) -> Iterator[Finding]:
    for name, root in lifetimes.roots.items():
        places = plan.offsets.get(name), plan.offsets.get(root)
        if None not in places and places[0] != places[1]:
            yield f"memory plan '{name}'", f"is a view of '{root}', but lies elsewhere"


def _overlap_faults(graph: Graph, plan: MemoryPlan, lifetimes: Lifetimes) -> Iterator[Finding]:
    at_border = {lifetimes.root(name) for name in border_values(graph)}
    names = [n for n in lifetimes.lives if n in plan.offsets and n not in at_border]
    lives = [placed_life(graph, lifetimes, name) for name in names]
    starts = np.array([plan.offsets[name] for name in names], np.int64)
    ends = starts + [life.part_bytes * life.written.size for life in lives]
    first = np.array([life.first for life in lives])
    last = np.array([life.last for life in lives])
    meets = (starts[:, None] < ends) & (ends[:, None] > starts)
    meets &= (first[:, None] <= last) & (last[:, None] >= first)
    for i, j in np.argwhere(np.triu(meets, 1)):
        one, other = sorted((int(i), int(j)), key=lambda k: (lives[k].first, k))
        byte = _clash(
            lives[one], lives[other], int(starts[other] - starts[one]),
            is_shared=_is_in_place(graph, plan, lifetimes, names[one], names[other]),
        )  # fmt: skip
        if byte is not None:
            at = int(starts[one]) + byte
            yield f"memory plan '{names[other]}'", f"overwrites '{names[one]}' at byte {at}"


def placed_life(graph: Graph, lifetimes: Lifetimes, name: str) -> Life:
    """Return the life of what a value takes in the arena: of its ring, if it has one."""
    life, ring = lifetimes.lives[name], lifetimes.rings.get(name)
    return ring_life(life, ring, shape_of(graph, name)[1]) if ring else life


def _is_in_place(graph: Graph, plan: MemoryPlan, lifetimes: Lifetimes, x: str, y: str) -> bool:
    """Whether an elementwise operation may read and write both at once, element by element."""
    op = graph.producers.get(y)
    if op is None or op.kind not in ELEMENTWISE_OPERATIONS:
        return False
    if x not in {lifetimes.root(name) for name in op.inputs}:
        return False
    same = graph.values[x].dtype.bits == graph.values[y].dtype.bits
    sizes = {value_bytes(graph, name) for name in (x, y)}
    return same and len(sizes) == 1 and plan.offsets[x] == plan.offsets[y]


def _clash(one: Life, other: Life, distance: int, *, is_shared: bool) -> int | None:
    """Return the first byte of `one` that the later `other` takes while it is needed.

    Args:
        one, other: The lives of two values.
        distance: Where the second begins, from the first on.
        is_shared: Whether the same tick may read the one and write the other.
    """
    size = one.part_bytes * one.written.size
    low, high = max(distance, 0), min(size, distance + other.part_bytes * other.written.size)
    bytes_ = np.arange(low, high)
    a, b = bytes_ // one.part_bytes, (bytes_ - distance) // other.part_bytes
    reads, writes = one.read[a], other.written[b]
    is_needed = (reads > writes) if is_shared else (reads >= writes)
    found = is_needed & (one.written[a] <= other.read[b])
    return int(low + found.argmax()) if found.any() else None
