"""Write recurrent operations out, step by step.

Before:
    x: f32[1,N,3]; w: f32[1,2,3] = [[[1, 2, 3], [4, 5, 6]]]
    r: f32[1,2,2] = [[[1, 2], [3, 4]]]
    y, last = RNN(x, w, r) {hidden_size=2}
    return last
After:
    x: f32[1,N,3]; y.forward.w: f32[3,2] = [[1, 4], [2, 5], [3, 6]]
    y.forward = MatMul(x, y.forward.w)
    last = Tanh(y.forward)
    return last

Targets without floats have no recurrent kernels; what a step is made of they have. Products with
the inputs of all steps are one; weights of the states are stored once, however many steps there
are. Run it where shapes are known, and the rest of the group behind it:
``bind-symbols,fold-shapes,unroll-recurrent,canonicalize``.

Preconditions:
    1. An RNN, GRU or LSTM with constant weights, whose sequences all have one known length of at
       most `longest` steps.
    2. Activations are the default ones; no clip, no input_forget, layout 0.

Numerics: real-equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from quantable.ir import DType, Graph, GraphEditor, Operation, OptionError, Value
from quantable.ir.graph import Dim
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.recurrent_steps import (
    GATES,
    Direction,
    Float,
    State,
    StepWriter,
)
from quantable.passes.canonicalize.rewriting import rewritten

_DEFAULT = {"RNN": ("tanh",), "GRU": ("sigmoid", "tanh"), "LSTM": ("sigmoid", "tanh", "tanh")}
_PEEPHOLES = 7


@dataclass(frozen=True)
class UnrollRecurrent(Pass):
    """See the module's docstring.

    Attributes:
        longest: Most steps of a sequence.
    """

    name: ClassVar[str] = "unroll-recurrent"
    summary: ClassVar[str] = "write recurrent operations out, step by step"
    longest: int = 256

    def check(self) -> None:
        if self.longest < 1:
            raise OptionError(f"longest: expected at least 1, found {self.longest}")

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Unroll one operation after the other."""

        def unrolled(editor: GraphEditor, op: Operation) -> str:
            reason = _reason(editor, op, self.longest)
            if not reason:
                _unroll(editor, op)
            return reason

        return rewritten(graph, context, self.name, GATES, unrolled)


def _input(op: Operation, slot: int) -> str:
    return op.inputs[slot] if slot < len(op.inputs) else ""


def _reason(editor: GraphEditor, op: Operation, longest: int) -> str:
    """Return which precondition does not hold, '' where all do."""
    shape = editor.values[op.inputs[0]].shape
    if shape is None or not isinstance(shape[0], int) or not 1 <= shape[0] <= longest:
        return f"its sequences have {shape and shape[0]} steps, expected 1 to {longest}"
    constants = [op.inputs[1], op.inputs[2], _input(op, 3), _input(op, _PEEPHOLES)]
    if any(name and name not in editor.parameters for name in constants):
        return "its weights are computed"
    lengths = _input(op, 4)
    if lengths and (lengths not in editor.parameters or (editor.array(lengths) != shape[0]).any()):
        return "the lengths of its sequences differ, or are computed"
    if op.int_attribute("layout") or op.int_attribute("input_forget"):
        return "expected layout 0 and input_forget 0"
    if "clip" in op.attributes and op.float_attribute("clip"):
        return "it clips what activations are given"
    directions = editor.parameters[op.inputs[1]].shape[0]
    named = op.attributes.get("activations", ())
    names = tuple(str(name).lower() for name in named) if isinstance(named, tuple) else ()
    if names not in ((), _DEFAULT[op.kind] * directions):
        return f"its activations are {', '.join(names)}"
    return ""


def _unroll(editor: GraphEditor, op: Operation) -> None:
    shape = editor.values[op.inputs[0]].shape
    assert shape is not None
    length, batch = int(shape[0]), shape[1]
    cells = _cells(editor, op)
    ways = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
    found = op.string_attribute("direction", "forward")
    base = next(name for name in op.outputs if name)
    made: list[list[State]] = []
    for index, is_reverse in enumerate(ways[found]):
        hint = f"{base}.{'reverse' if is_reverse else 'forward'}"
        writer = StepWriter(editor, op, cells[index], batch, hint)
        state = _initial(editor, op, index, cells[index], batch)
        made.append(writer.steps(op.inputs[0], length, state, is_reverse=is_reverse))
    editor.remove(op)
    last = [states[0 if is_reverse else -1] for states, is_reverse in zip(made, ways[found],
                                                                          strict=True)]  # fmt: skip
    _all_states(editor, op, [[state[0] for state in states] for states in made], batch)
    for slot, name in enumerate(op.outputs[1:]):
        if name:
            _joined(editor, op, [state[slot] for state in last], name, 0)


def _cells(editor: GraphEditor, op: Operation) -> list[Direction]:
    w, r = (editor.array(name).astype(np.float32) for name in op.inputs[1:3])
    rows, hidden = w.shape[1], r.shape[2]
    given = _input(op, 3)
    bias = editor.array(given).astype(np.float32) if given else np.zeros((len(w), 2 * rows))
    holes = _input(op, _PEEPHOLES)
    peepholes: list[Float | None] = [None] * len(w)
    if holes and editor.array(holes).any():
        peepholes = list(editor.array(holes).astype(np.float32).reshape(-1, 3, hidden))
    before = bool(op.int_attribute("linear_before_reset"))
    return [
        Direction(
            op.kind, w[i], r[i], bias[i, :rows].astype(np.float32),
            bias[i, rows:].astype(np.float32), peepholes[i], before,
        )
        for i in range(len(w))
    ]  # fmt: skip


def _initial(editor: GraphEditor, op: Operation, index: int, cell: Direction, batch: Dim) -> State:
    """Return the states before the first step; zeros have no name."""
    found = []
    for slot in (5, 6) if op.kind == "LSTM" else (5,):
        name = _input(op, slot)
        if not name or (name in editor.parameters and not editor.array(name).any()):
            found.append("")
        elif name in editor.parameters:
            part = editor.array(name)[index : index + 1]
            found.append(editor.add_parameter(f"{name}.{index}", part))
        else:
            found.append(_cut(editor, op, name, index, (1, batch, cell.hidden)))
    return tuple(found)


def _cut(editor: GraphEditor, op: Operation, name: str, index: int, shape: tuple[Dim, ...]) -> str:
    """Return the state of one direction of those of all."""
    ends = [editor.add_parameter(f"{name}.{what}", np.array([number], np.int64))
            for what, number in (("start", index), ("end", index + 1), ("axis", 0))]  # fmt: skip
    part = editor.add_value(f"{name}.{index}", DType.FLOAT32, shape)
    editor.add_operation(part, "Slice", [name, *ends], [part], {}, op.sources)
    return part


def _all_states(editor: GraphEditor, op: Operation, made: list[list[str]], batch: Dim) -> None:
    """Make [length, directions, batch, hidden] of the states, if anything reads it."""
    output = op.outputs[0]
    if not output or not (editor.uses(output) or output in editor.outputs):
        return
    shape = editor.values[made[0][0]].shape
    assert shape is not None
    length, hidden = len(made[0]), shape[2]
    sides = []
    for states in made:
        whole = _joined(editor, op, states, "", 0)
        target = np.array([length, 1, -1, hidden], np.int64)  # the batch may be a symbol
        side = (
            output
            if len(made) == 1
            else editor.add_value(f"{output}.side", DType.FLOAT32, (length, 1, batch, hidden))
        )
        name = editor.add_parameter(f"{output}.shape", target)
        editor.add_operation(side, "Reshape", [whole, name], [side], {}, op.sources)
        sides.append(side)
    if len(sides) > 1:
        _joined(editor, op, sides, output, 1)


def _joined(editor: GraphEditor, op: Operation, parts: list[str], output: str, axis: int) -> str:
    """Concatenate parts of length 1, into a value of a name where there is one."""
    if len(parts) == 1 and not output:
        return parts[0]
    shape = editor.values[parts[0]].shape
    assert shape is not None
    sizes = (*shape[:axis], len(parts), *shape[axis + 1 :])
    if not output:
        output = editor.add_value(f"{op.outputs[0]}.steps", DType.FLOAT32, sizes)
    editor.values[output] = Value(output, DType.FLOAT32, sizes)
    producer = editor.producer(parts[0])
    assert producer is not None
    if len(parts) > 1:
        editor.add_operation(output, "Concat", parts, [output], {"axis": axis}, op.sources)
    elif editor.uses(parts[0]) or len(producer.outputs) > 1:
        editor.add_operation(output, "Identity", parts, [output], {}, op.sources)
    else:
        editor.remove(producer)
        editor.add_operation(
            output, producer.kind, producer.inputs, [output], producer.attributes, op.sources
        )
    return output
