"""RNN, GRU and LSTM of ONNX: one recurrence, three cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from quantable.reference.site import Builder, Kernel, Site

Function = Callable[[Tensor], Tensor]
State = tuple[Tensor, ...]
Cell = Callable[["_Weights", "_Settings", Tensor, State], State]


def _affine(alpha: float, beta: float) -> Function:
    return lambda x: alpha * x + beta


_FUNCTIONS: dict[str, tuple[float, float, Callable[[float, float], Function]]] = {
    "affine": (1.0, 0.0, _affine),
    "elu": (1.0, 0.0, lambda a, _: lambda x: functional.elu(x, a)),
    "hardsigmoid": (0.2, 0.5, lambda a, b: lambda x: torch.clamp(a * x + b, 0.0, 1.0)),
    "leakyrelu": (0.01, 0.0, lambda a, _: lambda x: functional.leaky_relu(x, a)),
    "relu": (0.0, 0.0, lambda _, __: torch.relu),
    "scaledtanh": (1.0, 1.0, lambda a, b: lambda x: a * torch.tanh(b * x)),
    "sigmoid": (0.0, 0.0, lambda _, __: torch.sigmoid),
    "softplus": (0.0, 0.0, lambda _, __: functional.softplus),
    "softsign": (0.0, 0.0, lambda _, __: functional.softsign),
    "tanh": (0.0, 0.0, lambda _, __: torch.tanh),
    "thresholdedrelu": (1.0, 0.0, lambda a, _: lambda x: torch.where(x > a, x, 0 * x)),
}
"""Activation functions by name: default alpha and beta, and what makes one."""


@dataclass(frozen=True, slots=True)
class _Weights:
    """Parameters of one direction.

    Attributes:
        w, r: [gates * hidden, input] and [gates * hidden, hidden].
        wb, rb: Biases of both, [gates * hidden].
        p: Peepholes of an LSTM [3 * hidden].
    """

    w: Tensor
    r: Tensor
    wb: Tensor
    rb: Tensor
    p: Tensor


@dataclass(frozen=True, slots=True)
class _Settings:
    """Attributes of one direction."""

    functions: tuple[Function, ...]
    clip: float
    linear_before_reset: bool
    input_forget: bool

    def bounded(self, x: Tensor) -> Tensor:
        """Return what an activation function is given."""
        return x.clamp(-self.clip, self.clip) if self.clip else x


def _rnn_cell(w: _Weights, s: _Settings, x: Tensor, state: State) -> State:
    total = x @ w.w.t() + state[0] @ w.r.t() + w.wb + w.rb
    return (s.functions[0](s.bounded(total)),)


def _gru_cell(w: _Weights, s: _Settings, x: Tensor, state: State) -> State:
    (h,) = state
    size = h.shape[-1]
    given = x @ w.w.t() + w.wb
    inner = h @ w.r[: 2 * size].t() + w.rb[: 2 * size]
    gates = s.functions[0](s.bounded(given[..., : 2 * size] + inner))
    update, reset = gates[..., :size], gates[..., size:]
    matrix, bias = w.r[2 * size :], w.rb[2 * size :]
    if s.linear_before_reset:
        hidden = reset * (h @ matrix.t() + bias)
    else:
        hidden = (reset * h) @ matrix.t() + bias
    new = s.functions[1](s.bounded(given[..., 2 * size :] + hidden))
    return ((1 - update) * new + update * h,)


def _lstm_cell(w: _Weights, s: _Settings, x: Tensor, state: State) -> State:
    h, c = state
    total = x @ w.w.t() + h @ w.r.t() + w.wb + w.rb
    i, o, f, g = total.chunk(4, -1)
    pi, po, pf = w.p.chunk(3, -1)
    first, second, third = s.functions
    i = first(s.bounded(i + pi * c))
    f = 1 - i if s.input_forget else first(s.bounded(f + pf * c))
    c = f * c + i * second(s.bounded(g))
    o = first(s.bounded(o + po * c))
    return o * third(c), c


_DEFAULTS = {"RNN": ("tanh",), "GRU": ("sigmoid", "tanh"), "LSTM": ("sigmoid", "tanh", "tanh")}
_CELLS: dict[str, tuple[Cell, int, int]] = {
    "RNN": (_rnn_cell, 1, 1), "GRU": (_gru_cell, 3, 1), "LSTM": (_lstm_cell, 4, 2),
}  # fmt: skip
"""By kind: one step, how many gates it has, and how many states."""


def _functions(site: Site, kind: str, directions: int) -> list[tuple[Function, ...]]:
    """Return the activation functions of each direction."""
    op = site.operation
    names = op.attributes.get("activations") or _DEFAULTS[kind] * directions
    assert isinstance(names, tuple)
    given: dict[str, list[float]] = {}
    for key in ("activation_alpha", "activation_beta"):
        held = op.attributes.get(key, ())
        given[key] = [float(v) for v in held] if isinstance(held, tuple) else []
    made = []
    for name in names:
        row = _FUNCTIONS.get(str(name).lower())
        if row is None:
            raise site.refuse(f"attribute 'activations': found {name}")
        # Values are given for those functions alone that take one, in order.
        alpha = given["activation_alpha"].pop(0) if row[0] and given["activation_alpha"] else row[0]
        beta = given["activation_beta"].pop(0) if row[1] and given["activation_beta"] else row[1]
        made.append(row[2](alpha, beta))
    count = len(_DEFAULTS[kind])
    return [tuple(made[i * count : (i + 1) * count]) for i in range(directions)]


def _steps(
    cell: Cell, w: _Weights, s: _Settings, x: Tensor, state: State, lengths: Tensor | None
) -> tuple[Tensor, State]:
    """Run one direction over x [length, batch, input]; a sample that has ended keeps its state."""
    outputs = []
    for step in range(x.shape[0]):
        new = cell(w, s, x[step], state)
        if lengths is not None:
            runs = (step < lengths).view(-1, 1)
            state = tuple(torch.where(runs, a, b) for a, b in zip(new, state, strict=True))
            outputs.append(torch.where(runs, state[0], torch.zeros_like(state[0])))
        else:
            state = new
            outputs.append(state[0])
    stacked = torch.stack(outputs) if outputs else x.new_zeros(0, x.shape[1], state[0].shape[-1])
    return stacked, state


def _reversed(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Turn [length, batch, ...] around in time, each sample within its own length."""
    if lengths is None:
        return x.flip(0)
    steps = torch.arange(x.shape[0]).view(-1, 1)
    places = torch.where(steps < lengths, lengths - 1 - steps, steps)
    return x.gather(0, places.unsqueeze(-1).expand_as(x))


def _recurrence(kind: str) -> Builder:
    cell, gates, states = _CELLS[kind]

    def build(site: Site) -> Kernel:
        op = site.operation
        direction = op.string_attribute("direction", "forward")
        if direction not in ("forward", "reverse", "bidirectional"):
            raise site.refuse(f"attribute 'direction': found {direction}")
        count = 2 if direction == "bidirectional" else 1
        settings = [
            _Settings(
                functions, op.float_attribute("clip"),
                bool(op.int_attribute("linear_before_reset")),
                bool(op.int_attribute("input_forget")),
            )
            for functions in _functions(site, kind, count)
        ]  # fmt: skip
        is_batch_first = bool(op.int_attribute("layout"))

        def run(x: Tensor, w: Tensor, r: Tensor, *rest: Tensor | None) -> tuple[Tensor, ...]:
            more = [*rest, *(None,) * (5 - len(rest))]
            x = x.transpose(0, 1) if is_batch_first else x
            weights = _weights_of(w, r, more[0], more[4] if kind == "LSTM" else None, gates)
            given = [
                s if s is None or not is_batch_first else s.transpose(0, 1)
                for s in more[2 : 2 + states]
            ]
            lengths = None if more[1] is None else more[1].to(torch.int64)
            found = []
            for index in range(count):
                start = _start(given, index, x, r.shape[-1])
                is_backward = direction == "reverse" or index == 1
                line = _reversed(x, lengths) if is_backward else x
                y, state = _steps(cell, weights[index], settings[index], line, start, lengths)
                found.append((_reversed(y, lengths) if is_backward else y, state))
            return _results(found, is_batch_first)

        return run

    return build


def _weights_of(
    w: Tensor, r: Tensor, bias: Tensor | None, peepholes: Tensor | None, gates: int
) -> list[_Weights]:
    size, count = r.shape[-1], w.shape[0]
    both = w.new_zeros(count, 2 * gates * size) if bias is None else bias
    p = w.new_zeros(count, 3 * size) if peepholes is None else peepholes
    half = gates * size
    return [_Weights(w[i], r[i], both[i, :half], both[i, half:], p[i]) for i in range(count)]


def _start(given: Sequence[Tensor | None], index: int, x: Tensor, size: int) -> State:
    zero = x.new_zeros(x.shape[1], size)
    return tuple(zero if state is None else state[index] for state in given)


def _results(found: Sequence[tuple[Tensor, State]], is_batch_first: bool) -> tuple[Tensor, ...]:
    y = torch.stack([one for one, _ in found], 1)  # [length, directions, batch, hidden]
    last = [torch.stack(states) for states in zip(*(state for _, state in found), strict=True)]
    if is_batch_first:
        return (y.permute(2, 0, 1, 3), *(state.transpose(0, 1) for state in last))
    return (y, *last)


TABLE: dict[str, Builder] = {kind: _recurrence(kind) for kind in _CELLS}
