"""The calls of steps: one after the other, or in turns of some rows."""

from __future__ import annotations

from quantable.backends.c.push import Push
from quantable.backends.c.unit import Step, Unit
from quantable.ir import Ring, Stream
from quantable.ir.streaming import RowOrder, bounding

STREAM_HEADER = "q_stream.h"


def step_calls(unit: Unit, steps: list[Step]) -> list[str]:
    """Return the statements that run all steps."""
    if unit.push is None:
        return _calls(unit, steps)
    count, push = len(unit.push.stream.operations), unit.push
    if push.is_planned:
        first = [f"  int32_t made[{count}] = {{0}};", f"  run_first(t, made, {push.height});"]
    else:
        height = steps[0].shape(steps[0].output())[1]
        first = [f"  {_call(steps[0], f't, 0, {height}')}"]
    return [*first, *_meeting(unit, steps, count - 1), "  run_rest(t);"]


def pushed_lines(unit: Unit, push: Push, steps: list[Step]) -> list[str]:
    """Return the functions that run what comes before and behind the last row of the input."""
    parts = steps[: len(push.stream.operations)]
    order = RowOrder(unit.graph, [step.operation for step in parts])
    value = unit.border.inputs[0].value
    needed = [
        _needed(order, step, _counters(parts)[step.index][1])
        for step in parts if value in step.operation.inputs
    ]  # fmt: skip
    most = needed[0]
    for other in needed[1:]:
        most = f"q_most({most}, {other})"
    rest = _calls(unit, steps[len(parts) :])
    return [
        "/* Run what the rows of the input that were received are enough for. */",
        "static void run_first(const run_tensors *t, int32_t *made, int32_t received) {",
        *_loop(unit, push.stream, parts, _counters(parts), f"received < {most}"),
        "}",
        "",
        "static void run_rest(const run_tensors *t) {",
        *(rest or ["  (void)t;"]),
        "}",
        "",
    ]


Counters = dict[int, tuple[str, str]]
"""By the index of a step, the expressions of the rows that are made, and that are to be made."""


def _counters(steps: list[Step]) -> Counters:
    """Return counters that outlive a call."""
    return {step.index: (f"made[{i}]", f"end{step.index}") for i, step in enumerate(steps)}


def _calls(unit: Unit, steps: list[Step]) -> list[str]:
    lines: list[str] = []
    by_name = {step.operation.name: step for step in steps}
    for index, step in enumerate(steps):
        stream = unit.streams.get(step.operation.name)
        if stream is None:
            lines.append(f"  {_call(step, 't')}")
        elif step.operation.name == stream.operations[0]:
            parts = [by_name[name] for name in stream.operations]
            lines += [f"  {line}" for line in _turns(unit, stream, parts)]
        if stream is None or step.operation.name == stream.operations[-1]:
            lines += _meeting(unit, steps, index)
    return lines


def _meeting(unit: Unit, steps: list[Step], index: int) -> list[str]:
    """Return where threads meet behind a step: nowhere if one of them does the next one, too.

    Of a stream any step may be the first to run: the first turns may need no row of others.
    """
    if index + 1 == len(steps) or not unit.kernels.has_threads:
        return []  # behind the last step the run ends
    stream = unit.streams.get(steps[index + 1].operation.name)
    names = stream.operations if stream else (steps[index + 1].operation.name,)
    following = [step.size for step in steps if step.operation.name in names]
    return [f"  Q_MEET_BETWEEN(t, {max(steps[index].size, *following)});"]


def _turns(unit: Unit, stream: Stream, steps: list[Step]) -> list[str]:
    """Return a stream as a block."""
    rows = ", ".join(f"row{step.index} = 0" for step in steps)
    counters = {step.index: (f"row{step.index}", f"end{step.index}") for step in steps}
    return [
        f"{{ /* Steps {steps[0].index} to {steps[-1].index} in turns. */",
        f"  int32_t {rows};",
        *_loop(unit, stream, steps, counters),
        "}",
    ]


def _loop(
    unit: Unit, stream: Stream, steps: list[Step], counters: Counters, missing: str = ""
) -> list[str]:
    """Return the loop of a stream; `quantable.ir.streaming.RowOrder` says the order.

    With `missing` it returns where that holds before a turn.
    """
    order = RowOrder(unit.graph, [step.operation for step in steps])
    made, end = counters[steps[-1].index]
    height = order.rows[steps[-1].operation.name].outputs
    lines = [
        f"  while ({made} < {height}) {{",
        f"    const int32_t {end} = q_least({made} + {stream.rows}, {height});",
    ]
    lines += [
        f"    const int32_t end{step.index} = {_end(stream, order, step, steps)};"
        for step in reversed(steps[:-1])
    ]
    if missing:
        lines += [f"    if ({missing}) {{", "      return;", "    }"]
    size = max(step.size for step in steps)
    for step in steps:
        lines += [f"    {line}" for line in _rows(unit, stream, step, size, *counters[step.index])]
    return [*lines, "  }"]


def _end(stream: Stream, order: RowOrder, step: Step, steps: list[Step]) -> str:
    """Return up to which row a step has to run."""
    name, last = step.operation.outputs[0], steps[-1]
    found = "0"
    for reader in steps:
        if name in reader.operation.inputs:
            needed = _needed(order, reader, f"end{reader.index}")
            found = needed if found == "0" else f"q_most({found}, {needed})"
    if name in stream.rings:
        return found
    heights = [order.rows[s.operation.name].outputs for s in (last, step)]
    return f"end{last.index} == {heights[0]} ? {heights[1]} : {found}"


def _needed(order: RowOrder, step: Step, end: str) -> str:
    """Return how many rows of its input a step needs to make rows up to an end."""
    axis = order.rows[step.operation.name]
    rest = axis.reach + 1 - axis.pad - axis.stride
    return f"q_needed({end}, {axis.stride}, {rest}, {axis.inputs})"


def _rows(unit: Unit, stream: Stream, step: Step, size: int, row: str, end: str) -> list[str]:
    """Return the loop in which a step makes the rows up to its end."""
    count = f"{end} - {row}"
    for name in bounding(unit.graph, step.operation):
        if name in stream.rings:
            count = f"q_least({count}, {_room(stream.rings[name], row)})"
    return [
        f"while ({row} < {end}) {{",
        f"  const int32_t count = {count};",
        f"  {_call(step, f't, {row}, count')}",
        *([f"  Q_MEET_BETWEEN(t, {size});"] if unit.kernels.has_threads else []),
        f"  {row} += count;",
        "}",
    ]


def _call(step: Step, arguments: str) -> str:
    return f"QUANTABLE_STEP({step.index}, {step.name}({arguments}));"


def _room(ring: Ring, row: str) -> str:
    return f"{ring.rows} - ({row} + {ring.phase}) % {ring.rows}"
