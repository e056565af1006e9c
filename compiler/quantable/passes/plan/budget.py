"""What to say where the arena is larger than it may be."""

from __future__ import annotations

import re
from collections.abc import Sequence

from quantable.ir import Graph, MemoryPlan, UnsupportedError
from quantable.ir.lifetimes import Lifetimes
from quantable.ir.streaming import is_streamable
from quantable.passes.plan.storage import Buffer, live_bytes

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?) *(b|kb|kib|mb|mib)?")
_STEPS = {"b": 1, "kb": 1 << 10, "kib": 1 << 10, "mb": 1 << 20, "mib": 1 << 20}


def over_budget(
    graph: Graph, plan: MemoryPlan, buffers: Sequence[Buffer], budget: int
) -> UnsupportedError:
    """Return the error of a plan that needs too much: the largest set of values, and what helps.

    Args:
        graph: What was planned, in its order.
        plan: The smallest plan that was found.
        buffers: Its buffers.
        budget: Bytes.
    """
    live = live_bytes(buffers)
    tick = int(live.argmax()) - 1
    lifetimes = Lifetimes(graph, plan.streams, is_ordered=plan.is_ordered)
    begun = max((t for t in lifetimes.operations if t <= tick), default=0)
    op = lifetimes.operations[begun]
    held = sorted(((_bytes_at(buffer, tick), buffer) for buffer in buffers),
                  key=lambda pair: -pair[0])  # fmt: skip
    rows = [_described(graph, plan, size, buffer) for size, buffer in held if size]
    need, slack = int(live.max()), plan.arena_bytes - int(live.max())
    message = (
        f"the arena: expected at most {budget} bytes, found {plan.arena_bytes}; most is needed "
        f"here, {need} bytes at once:\n    " + "\n    ".join(rows)
    )
    if slack > 0:
        message += f"\n    and {slack} bytes that lie between buffers that are needed"
    return UnsupportedError(message, where=op.where(), help=_help(graph, plan, op.name))


def _bytes_at(buffer: Buffer, tick: int) -> int:
    if buffer.life is None:
        return buffer.size if buffer.first <= tick <= buffer.last else 0
    needed = (buffer.life.written <= tick) & (buffer.life.read >= tick)
    return int(needed.sum()) * buffer.life.part_bytes


def _described(graph: Graph, plan: MemoryPlan, size: int, buffer: Buffer) -> str:
    values = [graph.values[name] for name in buffer.values]
    rings = {name: ring for stream in plan.streams for name, ring in stream.rings.items()}
    shapes = {f"{v.dtype.value}[{', '.join(map(str, v.shape or ()))}]" for v in values}
    names = ", ".join(f"'{value.name}'" for value in values)
    ring = rings.get(buffer.values[0])
    kept = f", {ring.rows} rows of it" if ring else ""
    return f"{size} bytes of {names}: {' and '.join(sorted(shapes))}{kept}"


def _help(graph: Graph, plan: MemoryPlan, name: str) -> str:
    """Return what could make the arena smaller."""
    if not plan.is_ordered:
        return (
            "a target whose kernels make pixels in order (c-portable, cortex-m4) overlaps outputs "
            "with inputs and streams rows; or raise the budget"
        )
    streamed = {op for stream in plan.streams for op in stream.operations}
    op = next(op for op in graph.operations if op.name == name)
    if name not in streamed and not is_streamable(graph, op):
        return (
            f"{op.kind} needs all of its input at once; let what is before it be smaller, or raise "
            "the budget"
        )
    return "give the network a smaller input or fewer channels here, or raise the budget"


def parsed_bytes(text: str) -> int | None:
    """Return the bytes that a text such as 22KB, 22528 or 1.5MB says; None where it says none."""
    found = _SIZE.fullmatch(text.strip().lower())
    if found is None:
        return None
    size = float(found[1]) * _STEPS[found[2] or "b"]
    return int(size) if size >= 1 and size == int(size) else None
