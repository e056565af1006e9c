"""Matrix products, reductions, normalizations, recurrences, attention."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.reference.drawn_operators.drawing import Case, Draw, Strategy

SUMS = 2e-6
LOOSE = 1e-5


def _matmul(d: Draw) -> Case:
    inner = d.pick(3, 1, 8, 0)
    batch = d.shape(0, 2)
    a = [*batch, *([d.pick(2, 1, 5, 0)] * d.pick(1, 0) if not batch else [d.pick(2, 1, 0)]), inner]
    b = [*d.beside(batch), inner, d.pick(4, 1, 2)]
    if len(b) == 2 and d.pick(False, True):
        b = [inner]
    return Case(d.kind, [d.floats(a), d.floats(b)], {}, 1, d.opset(), SUMS)


def _gemm(d: Draw) -> Case:
    rows, inner, columns = d.pick(2, 1, 5, 0), d.pick(3, 1, 8), d.pick(4, 1, 2)
    turned = d.flag(), d.flag()
    a, b = ([rows, inner][:: 1 - 2 * turned[0]], [inner, columns][:: 1 - 2 * turned[1]])
    c = d.pick(None, [columns], [1, columns], [rows, 1], [rows, columns], [])
    more: dict[str, Any] = {"transA": turned[0], "transB": turned[1]}
    if d.flag():
        more |= {"alpha": 0.5, "beta": 2.0}
    opset = d.opset(11)
    c = [columns] if c is None and opset < 11 else c
    given = [d.floats(a), d.floats(b), *([] if c is None else [d.floats(c)])]
    return Case(d.kind, given, more, 1, opset, SUMS, frozenset({1, 2}))


def _reduction(
    positive: bool = False, tolerance: float = SUMS, inputs_since: int = 18,
    of_nothing: bool = True,
) -> Strategy:  # fmt: skip
    """Return a strategy; `of_nothing`: whether the result over no elements is defined."""

    def draw(d: Draw) -> Case:
        opset, shape = d.opset(11), d.shape(1, 4, (2, 1, 3, 4, 5))
        if of_nothing and d.pick(False, False, True):
            shape[d.pick(*range(len(shape)))] = 0
        axes = d.axes(len(shape), 0)
        x = d.positive(shape) if positive else d.floats(shape)
        more: dict[str, Any] = {"keepdims": d.flag()}
        if not axes:
            if opset >= inputs_since and d.flag():
                more["noop_with_empty_axes"] = 1
            return Case(d.kind, [x], more, 1, opset, tolerance)
        if opset < inputs_since:
            return Case(d.kind, [x], {**more, "axes": axes}, 1, opset, tolerance)
        return Case(d.kind, [x, np.array(axes)], more, 1, opset, tolerance, frozenset({1}))

    return draw


def _batch_normalization(d: Draw) -> Case:
    # Quantized, it is a convolution: of no places, ONNX Runtime has none.
    shape = [d.pick(2, 1, 0), d.pick(3, 1), *d.shape(0, 2, (4, 1, 2))]
    rows = [d.floats([shape[1]]) for _ in range(3)]
    given = [d.floats(shape), *rows, d.positive([shape[1]])]
    return Case(d.kind, given, {"epsilon": d.pick(1e-5, 0.01)}, 1, d.opset(9), LOOSE,
                frozenset({1, 2, 3, 4}))  # fmt: skip


def _instance_normalization(d: Draw) -> Case:
    shape = d.shape(3, 4, (2, 3, 4, 5))
    rows = [d.floats([shape[1]]) for _ in range(2)]
    return Case(d.kind, [d.floats(shape), *rows], {"epsilon": 1e-3}, 1, d.opset(), LOOSE,
                frozenset({1, 2}))  # fmt: skip


def _layer_normalization(d: Draw) -> Case:
    shape = d.shape(1, 4, (3, 4, 2, 5))
    axis = d.axis(len(shape))
    own = shape[axis % len(shape) :]
    bias = [d.floats(own)] * d.flag()
    return Case(d.kind, [d.floats(shape), d.floats(own), *bias], {"axis": axis, "epsilon": 1e-3},
                1, 17, LOOSE, frozenset({1, 2}))  # fmt: skip


def _rms_normalization(d: Draw) -> Case:
    shape = d.shape(1, 4, (3, 4, 2, 5))
    axis = d.axis(len(shape))
    given = [d.floats(shape), d.floats(shape[axis % len(shape) :])]
    return Case(d.kind, given, {"axis": axis, "epsilon": 1e-3}, 1, 23, LOOSE, frozenset({1}))


def _lp_normalization(d: Draw) -> Case:
    shape = d.shape(1, 4, (3, 4, 2, 5))
    more = {"axis": d.axis(len(shape)), "p": d.pick(2, 1)}
    return Case(d.kind, [d.floats(shape)], more, 1, d.opset(), LOOSE)


def _softmax(d: Draw) -> Case:
    opset, shape = d.opset(), d.shape(1, 4)
    axis = d.axis(len(shape)) if opset >= 11 else d.pick(*range(len(shape)))
    return Case(d.kind, [d.floats(shape, 3)], {"axis": axis}, 1, opset, LOOSE)


def _recurrence(gates: int, states: int) -> Strategy:
    def draw(d: Draw) -> Case:
        direction = d.pick("forward", "reverse", "bidirectional")
        count, hidden, size = (2 if direction == "bidirectional" else 1), d.pick(3, 1), d.pick(2, 4)
        length, batch = d.pick(4, 1, 3), d.pick(2, 1)
        given: list[Any] = [
            d.floats([length, batch, size]), d.floats([count, gates * hidden, size], 0.5),
            d.floats([count, gates * hidden, hidden], 0.5),
        ]  # fmt: skip
        given.append(d.floats([count, 2 * gates * hidden]) if d.flag() else None)
        given.append(d.integers([batch], 1, length + 1, np.int32) if d.flag() else None)
        if d.flag():
            given += [d.floats([count, batch, hidden]) for _ in range(states)]
        while given[-1] is None:
            given.pop()
        more: dict[str, Any] = {"hidden_size": hidden, "direction": direction}
        if gates == 3:
            more["linear_before_reset"] = d.flag()
        return Case(d.kind, given, more, 1 + states, d.opset(), LOOSE, frozenset({1, 2, 3}))

    return draw


def _skip_normalization(d: Draw) -> Case:
    shape = [d.pick(2, 1, 0), d.pick(3, 1, 5), d.pick(8, 4)]
    rows = [d.floats(shape[-1:]) for _ in range(d.pick(1, 2, 3))]
    return Case(d.kind, [d.floats(shape), d.floats(shape), *rows], {"epsilon": 1e-3}, 1, 21, LOOSE,
                frozenset({2, 3, 4}))  # fmt: skip


def _attention(d: Draw) -> Case:
    heads, size, length = d.pick(2, 1), d.pick(4, 2), d.pick(3, 1, 5)
    hidden = heads * size
    given: list[Any] = [d.floats([d.pick(1, 2), length, 6]), d.floats([6, 3 * hidden], 0.5)]
    given.append(d.floats([3 * hidden]))
    more = {"num_heads": heads, "unidirectional": d.flag()}
    return Case(d.kind, given, more, 1, 21, LOOSE, frozenset({1, 2}))


def _multi_head_attention(d: Draw) -> Case:
    heads, size, batch = d.pick(2, 1), d.pick(4, 2), d.pick(1, 2)
    rows, columns = d.pick(3, 1, 5), d.pick(4, 2)
    q, k, v = (d.floats([batch, n, heads * size]) for n in (rows, columns, columns))
    return Case(d.kind, [q, k, v], {"num_heads": heads}, 1, 21, LOOSE)


STRATEGIES: dict[str, Strategy] = {
    "MatMul": _matmul, "Gemm": _gemm,
    "ReduceL1": _reduction(), "ReduceL2": _reduction(), "ReduceLogSum": _reduction(True),
    "ReduceLogSumExp": _reduction(), "ReduceMax": _reduction(tolerance=0, of_nothing=False),
    "ReduceMean": _reduction(of_nothing=False),
    "ReduceMin": _reduction(tolerance=0, of_nothing=False),
    "ReduceProd": _reduction(), "ReduceSum": _reduction(inputs_since=13),
    "ReduceSumSquare": _reduction(), "BatchNormalization": _batch_normalization,
    "InstanceNormalization": _instance_normalization, "LayerNormalization": _layer_normalization,
    "RMSNormalization": _rms_normalization, "LpNormalization": _lp_normalization,
    "Softmax": _softmax, "LogSoftmax": _softmax, "GRU": _recurrence(3, 1),
    "LSTM": _recurrence(4, 2), "com.microsoft.SkipLayerNormalization": _skip_normalization,
    "com.microsoft.Attention": _attention,
    "com.microsoft.MultiHeadAttention": _multi_head_attention,
}  # fmt: skip
