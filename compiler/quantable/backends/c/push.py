"""An entry for sensors that hand in one row of the input at a time.

What reads the input runs as soon as its rows are there: the first stream of the plan, or the first
operation alone. Rows of the input are kept in a ring that the caller owns, in place of all of the
input; the turns are those of a whole run, in the same order, so that its proof holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quantable.backends.c.border import BORDER_KINDS, Border
from quantable.ir import Graph, Operation, Stream
from quantable.ir.integer_operations import WINDOW_OPERATIONS
from quantable.ir.streaming import RowOrder, is_streamable, shape_of
from quantable.targets.kernel_sets import KernelSet


@dataclass(frozen=True, slots=True)
class Push:
    """What runs while rows of the input come in.

    Attributes:
        stream: Its operations, the first of the network.
        is_planned: Whether the plan runs them in turns; else it is one operation.
        height: Rows of the input.
        row: Elements of a row.
        kept: Rows of the ring.
    """

    stream: Stream
    is_planned: bool
    height: int
    row: int
    kept: int


def find_push(graph: Graph, border: Border, kernels: KernelSet) -> Push | None:
    """Return what can run row by row; None where all of the input is needed at once.

    That is where kernels make no rows, several inputs come in, or the input is read by something
    else than windows of pixels, channels last, at the beginning of the network.
    """
    if not kernels.is_ordered or len(border.inputs) != 1 or graph.plan is None:
        return None
    value = border.inputs[0].value
    readers = [op for op, _ in graph.uses(value)]
    steps = [op for op in graph.operations if op.kind not in BORDER_KINDS]
    if not readers or value in {tensor.value for tensor in border.outputs}:
        return None
    if any(op.kind not in WINDOW_OPERATIONS or not is_streamable(graph, op) for op in readers):
        return None
    planned = next((s for s in graph.plan.streams if readers[0].name in s.operations), None)
    stream = planned or Stream((readers[0].name,), 1, {})
    names = tuple(op.name for op in steps[: len(stream.operations)])
    if names != stream.operations or not {op.name for op in readers} <= set(names):
        return None
    height, wide, channels = shape_of(graph, value)[1:]
    kept = _kept(graph, stream, steps[: len(names)], readers)
    return Push(stream, planned is not None, height, wide * channels, kept)


def _kept(
    graph: Graph, stream: Stream, operations: Sequence[Operation], readers: Sequence[Operation]
) -> int:
    """Return how many rows of the input lie between the first and the last one of any turn."""
    order = RowOrder(graph, operations)
    done = dict.fromkeys(order.rows, 0)
    height = order.rows[operations[-1].name].outputs
    kept = 1
    for start in range(0, height, stream.rows):
        ends = order.ends(stream.rings, min(start + stream.rows, height))
        axes = [(order.rows[op.name], done[op.name], ends[op.name]) for op in readers]
        waiting = [axis.first(first) for axis, first, _ in axes if first < axis.outputs]
        if waiting:
            kept = max(kept, max(axis.needed(end) for axis, _, end in axes) - min(waiting))
        done = {name: max(done[name], end) for name, end in ends.items()}
    return kept
