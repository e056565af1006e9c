"""The calls of steps: one after the other, or in turns of some rows."""

from __future__ import annotations

from quantable.backends.c.unit import Step, Unit
from quantable.ir import Ring, Stream
from quantable.ir.streaming import RowOrder, bounding

STREAM_HEADER = "q_stream.h"


def step_calls(unit: Unit, steps: list[Step]) -> list[str]:
    """Return the statements that run all steps."""
    lines, by_name = [], {step.operation.name: step for step in steps}
    for step in steps:
        stream = unit.streams.get(step.operation.name)
        if stream is None:
            lines += [f"  {line}" for line in _call(step, "t")]
        elif step.operation.name == stream.operations[0]:
            parts = [by_name[name] for name in stream.operations]
            lines += [f"  {line}" for line in _turns(unit, stream, parts)]
    return lines


def _turns(unit: Unit, stream: Stream, steps: list[Step]) -> list[str]:
    """Return the loop of a stream; `quantable.ir.streaming.RowOrder` says the order."""
    order = RowOrder(unit.graph, [step.operation for step in steps])
    last = steps[-1]
    height = order.rows[last.operation.name].outputs
    rows = ", ".join(f"row{step.index} = 0" for step in steps)
    lines = [
        f"{{ /* Steps {steps[0].index} to {last.index} in turns. */",
        f"  int32_t {rows};",
        f"  while (row{last.index} < {height}) {{",
        f"    const int32_t end{last.index} = q_least(row{last.index} + {stream.rows}, {height});",
    ]
    lines += [
        f"    const int32_t end{step.index} = {_end(stream, order, step, steps)};"
        for step in reversed(steps[:-1])
    ]
    for step in steps:
        lines += [f"    {line}" for line in _rows(unit, stream, step)]
    return [*lines, "  }", "}"]


def _end(stream: Stream, order: RowOrder, step: Step, steps: list[Step]) -> str:
    """Return up to which row a step has to run."""
    name, last = step.operation.outputs[0], steps[-1]
    found = "0"
    for reader in steps:
        if name in reader.operation.inputs:
            axis = order.rows[reader.operation.name]
            rest = axis.reach + 1 - axis.pad - axis.stride
            needed = f"q_needed(end{reader.index}, {axis.stride}, {rest}, {axis.inputs})"
            found = needed if found == "0" else f"q_most({found}, {needed})"
    if name in stream.rings:
        return found
    heights = [order.rows[s.operation.name].outputs for s in (last, step)]
    return f"end{last.index} == {heights[0]} ? {heights[1]} : {found}"


def _rows(unit: Unit, stream: Stream, step: Step) -> list[str]:
    """Return the loop in which a step makes the rows up to its end."""
    row, end = f"row{step.index}", f"end{step.index}"
    count = f"{end} - {row}"
    for name in bounding(unit.graph, step.operation):
        if name in stream.rings:
            count = f"q_least({count}, {_room(stream.rings[name], row)})"
    return [
        f"while ({row} < {end}) {{",
        f"  const int32_t count = {count};",
        *(f"  {line}" for line in _call(step, f"t, {row}, count")),
        f"  {row} += count;",
        "}",
    ]


def _call(step: Step, arguments: str) -> list[str]:
    """Return the call of a step; threads meet behind it."""
    lines = [f"QUANTABLE_STEP({step.index}, {step.name}({arguments}));"]
    return [*lines, "Q_MEET(t);"] if step.unit.kernels.has_threads else lines


def _room(ring: Ring, row: str) -> str:
    return f"{ring.rows} - ({row} + {ring.phase}) % {ring.rows}"
