"""The steps of RNN, GRU and LSTM, written out: what `unroll-recurrent` writes.

Gates and formulas are those of the ONNX operator reference, with its default activations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantable.ir import Attribute, DType, GraphEditor, Operation, Shape
from quantable.ir.graph import Dim

Float = npt.NDArray[np.float32]
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
State = tuple[str, ...]
"""Names of values [1, batch, hidden]: the hidden state, and the cell's of an LSTM; '' for zeros."""


@dataclass(frozen=True)
class Direction:
    """The constants of one direction.

    Attributes:
        kind: RNN, GRU or LSTM.
        w, r: [gates * hidden, input], [gates * hidden, hidden].
        wb, rb: Biases of both, [gates * hidden].
        peepholes: Of an LSTM, [3, hidden]: input, output, forget; None where there are none.
        before: Whether a GRU multiplies by r before its reset gate does (linear_before_reset).
    """

    kind: str
    w: Float
    r: Float
    wb: Float
    rb: Float
    peepholes: Float | None
    before: bool

    @property
    def hidden(self) -> int:
        """Length of a state."""
        return int(self.r.shape[1])


class StepWriter:
    """Adds the operations of one direction to a graph."""

    def __init__(
        self, editor: GraphEditor, source: Operation, cell: Direction, batch: Dim, hint: str
    ) -> None:
        self._editor, self._source, self._cell = editor, source, cell
        self._batch, self._hint = batch, hint
        self._constants: dict[tuple[str, bytes], str] = {}

    def steps(self, x: str, length: int, state: State, *, is_reverse: bool) -> list[State]:
        """Add all steps and return the states behind them, in the order of the input.

        Args:
            x: [length, batch, input].
            length: Number of steps.
            state: Before the first step.
            is_reverse: Whether the last element is the first step.
        """
        parts = self._inputs(x, length)
        made: list[State] = [()] * length
        order = range(length)
        for step in reversed(order) if is_reverse else order:
            state = _CELLS[self._cell.kind](self, parts[step], state)
            made[step] = state
        return made

    def _inputs(self, x: str, length: int) -> list[str]:
        """Multiply all inputs at once, and take them apart, [1, batch, gates * hidden] each."""
        cell = self._cell
        bias = cell.wb.copy()
        added = len(bias) - (cell.hidden if cell.kind == "GRU" and cell.before else 0)
        bias[:added] += cell.rb[:added]
        size = len(cell.w)
        product = self.product(x, cell.w, (length, self._batch, size), bias)
        if length == 1:
            return [product]
        outputs = [self._value((1, self._batch, size)) for _ in range(length)]
        self._add("Split", [product], outputs, {"axis": 0, "num_outputs": length})
        return outputs

    def product(self, x: str, weight: Float, shape: Shape, bias: Float | None = None) -> str:
        """Return ``x @ weight.T + bias``."""
        made = self.op("MatMul", [x, self.constant("w", weight.T)], shape)
        if bias is None or not bias.any():
            return made
        return self.op("Add", [made, self.constant("b", bias)], shape)

    def gates(self, z: str, count: int) -> list[str]:
        """Split the last axis into parts of the length of a state."""
        if count == 1:
            return [z]
        outputs = [self._value(self.shape()) for _ in range(count)]
        self._add("Split", [z], outputs, {"axis": 2, "num_outputs": count})
        return outputs

    def parts(self, z: str, counts: Sequence[int]) -> list[str]:
        """Split the last axis into parts of some states each."""
        outputs = [self._value(self.shape(count)) for count in counts]
        lengths = np.array([count * self._cell.hidden for count in counts], np.int64)
        self._add("Split", [z, self.constant("parts", lengths)], outputs, {"axis": 2})
        return outputs

    def shape(self, gates: int = 1) -> Shape:
        """Return the shape of some gates of one step."""
        return (1, self._batch, gates * self._cell.hidden)

    def op(
        self, kind: str, inputs: Sequence[str], shape: Shape,
        attributes: dict[str, Attribute] | None = None,
    ) -> str:  # fmt: skip
        """Add an operation with one output, and return that."""
        output = self._value(shape)
        self._add(kind, inputs, [output], attributes or {})
        return output

    def same(self, kind: str, *inputs: str) -> str:
        """Add an elementwise operation on the shape of its first input."""
        return self.op(kind, inputs, self._editor.values[inputs[0]].shape or ())

    def constant(self, what: str, contents: npt.NDArray[np.generic]) -> str:
        """Return a parameter with the contents; equal ones are one."""
        array = np.ascontiguousarray(contents)
        key = (what, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self._editor.add_parameter(f"{self._hint}.{what}", array)
        return self._constants[key]

    def _value(self, shape: Shape) -> str:
        return self._editor.add_value(self._hint, DType.FLOAT32, shape)

    def _add(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str],
        attributes: dict[str, Attribute],
    ) -> None:  # fmt: skip
        self._editor.add_operation(
            outputs[0], kind, inputs, outputs, attributes, self._source.sources
        )

    # ---------------------------------------------------------------- cells

    def rnn(self, x: str, state: State) -> State:
        """Return tanh(x + h R)."""
        cell = self._cell
        if state[0]:
            x = self.same("Add", x, self.product(state[0], cell.r, self.shape()))
        return (self.same("Tanh", x),)

    def lstm(self, x: str, state: State) -> State:
        """Gates are input, output, forget, cell."""
        h, c = state
        cell = self._cell
        if h:
            x = self.same("Add", x, self.product(h, cell.r, self.shape(4)))
        if cell.peepholes is None:
            three, new = self.parts(x, (3, 1))
            gate_i, gate_o, gate_f = self.gates(self.same("Sigmoid", three), 3)
        else:
            i, o, f, new = self.gates(x, 4)
            gate_i = self.same("Sigmoid", self._peeped(i, c, 0))
            gate_f = self.same("Sigmoid", self._peeped(f, c, 2))
        made = self.same("Mul", gate_i, self.same("Tanh", new))
        c = self.same("Add", self.same("Mul", gate_f, c), made) if c else made
        if cell.peepholes is not None:
            gate_o = self.same("Sigmoid", self._peeped(o, c, 1))
        return self.same("Mul", gate_o, self.same("Tanh", c)), c

    def _peeped(self, z: str, c: str, which: int) -> str:
        """Add what the cell's state tells a gate."""
        assert self._cell.peepholes is not None
        if not c:
            return z
        hole = self.constant("p", self._cell.peepholes[which])
        return self.same("Add", z, self.same("Mul", c, hole))

    def gru(self, x: str, state: State) -> State:
        """Gates are update, reset, hidden."""
        (h,) = state
        cell, size = self._cell, self._cell.hidden
        if not h:
            return self._first(x)
        two, new = self.parts(x, (2, 1))
        if cell.before:
            inner = self.product(h, cell.r, self.shape(3), _last(cell.rb, size))
            inner_two, inner_new = self.parts(inner, (2, 1))
        else:
            inner_two = self.product(h, cell.r[: 2 * size], self.shape(2))
        update, reset = self.gates(self.same("Sigmoid", self.same("Add", two, inner_two)), 2)
        if cell.before:
            added = self.same("Mul", reset, inner_new)
        else:
            gated = self.same("Mul", reset, h)
            added = self.product(gated, cell.r[2 * size :], self.shape())
        new = self.same("Tanh", self.same("Add", new, added))
        kept = self.same("Mul", update, self.same("Sub", h, new))
        return (self.same("Add", new, kept),)

    def _first(self, x: str) -> State:
        """Step from a state of zeros: (1 - update) * new."""
        cell, size = self._cell, self._cell.hidden
        update, reset, new = self.gates(x, 3)
        if cell.before and cell.rb[2 * size :].any():
            bias = self.constant("b", cell.rb[2 * size :])
            new = self.same("Add", new, self.same("Mul", self.same("Sigmoid", reset), bias))
        new = self.same("Tanh", new)
        kept = self.same("Mul", self.same("Sigmoid", update), new)
        return (self.same("Sub", new, kept),)


def _last(bias: Float, size: int) -> Float:
    """Return a bias of which the last part alone is left: the others went to the inputs'."""
    found = np.zeros_like(bias)
    found[-size:] = bias[-size:]
    return found


_CELLS = {"RNN": StepWriter.rnn, "GRU": StepWriter.gru, "LSTM": StepWriter.lstm}
