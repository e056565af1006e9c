"""Functions of single elements, arithmetic, comparisons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.reference.drawn_operators.drawing import Array, Case, Draw, Strategy

CLOSE = 4e-6
"""What libraries of functions differ in."""


def _function(
    values: Callable[[Draw, list[int]], Array] | None = None, tolerance: float = CLOSE,
    oldest: int = 7, newest: int = 22, **ranges: tuple[float, float],
) -> Strategy:  # fmt: skip
    """Return the strategy of a function of one operand whose attributes lie in ranges."""

    def draw(d: Draw) -> Case:
        shape = d.shape(0, 4)
        x = d.floats(shape, 3) if values is None else values(d, shape)
        given = {n: float(np.float32(d.random.uniform(*r))) for n, r in ranges.items() if d.flag()}
        return Case(d.kind, [x], given, 1, d.opset(oldest, newest), tolerance)

    return draw


def _positive(d: Draw, shape: list[int]) -> Array:
    return d.positive(shape)


def _binary(*dtypes: Any, tolerance: float = 0.0, oldest: int = 7) -> Strategy:
    def draw(d: Draw) -> Case:
        dtype, shape = d.pick(*dtypes), d.shape(0, 4)
        a, b = d.numbers(shape, dtype), d.numbers(d.beside(shape), dtype)
        a, b = (a, b) if d.flag() else (b, a)
        return Case(d.kind, [a, b], {}, 1, d.opset(oldest), tolerance)

    return draw


def _quotient(d: Draw) -> Case:
    dtype, shape = d.pick(np.float32, np.int32, np.int64), d.shape(0, 4)
    b = d.numbers(d.beside(shape), dtype)
    b = np.where(np.abs(b) < 0.1, np.asarray(1, dtype), b)
    return Case(d.kind, [d.numbers(shape, dtype), b], {}, 1, d.opset())


def _modulo(d: Draw) -> Case:
    dtype, shape = d.pick(np.int32, np.int64, np.float32), d.shape(0, 4)
    b = d.numbers(d.beside(shape), dtype)
    b = np.where(np.abs(b) < 0.1, np.asarray(2, dtype), b)
    mode = 1 if dtype is np.float32 else d.flag()
    return Case(d.kind, [d.numbers(shape, dtype), b], {"fmod": mode}, 1, d.opset(10))


def _power(d: Draw) -> Case:
    shape = d.shape(0, 4)
    exponent = d.pick(d.floats(d.beside(shape)), np.float32(2), np.float32(0.5), np.int64(3))
    return Case(d.kind, [d.positive(shape), np.asarray(exponent)], {}, 1, d.opset(12), CLOSE)


def _several(tolerance: float) -> Strategy:
    def draw(d: Draw) -> Case:
        shape, count = d.shape(0, 4), d.pick(2, 1, 3)
        given = [d.floats(shape if not k else d.beside(shape)) for k in range(count)]
        return Case(d.kind, given, {}, 1, d.opset(8), tolerance)

    return draw


def _clip(d: Draw) -> Case:
    opset, shape = d.opset(), d.shape(0, 4)
    low, high = sorted(d.random.normal(size=2).astype(np.float32).tolist())
    if opset < 11:
        bounds = {"min": low, "max": high}
        given = {name: value for name, value in bounds.items() if d.flag()}
        return Case(d.kind, [d.floats(shape)], given, 1, opset)
    ends = [np.float32(value) if d.flag() else None for value in (low, high)]
    while ends and ends[-1] is None:
        ends.pop()
    return Case(d.kind, [d.floats(shape), *ends], {}, 1, opset)


def _prelu(d: Draw) -> Case:
    shape = d.shape(1, 4)
    return Case(d.kind, [d.floats(shape), d.floats(d.beside(shape))], {}, 1, d.opset())


def _where(d: Draw) -> Case:
    dtype, shape = d.pick(np.float32, np.int64), d.shape(0, 4)
    condition = d.numbers(d.beside(shape), np.bool_)
    x, y = d.numbers(shape, dtype), d.numbers(d.beside(shape), dtype)
    return Case(d.kind, [condition, x, y], {}, 1, d.opset(9))


def _cast(d: Draw) -> Case:
    types = (np.float32, np.int32, np.int64, np.uint8, np.bool_, np.float16, np.float64)
    source, to = d.pick(*types), d.pick(*range(len(types)))
    numbers = (1, 6, 7, 2, 9, 10, 11)
    x = d.numbers(d.shape(0, 4), source)
    x = np.abs(x) if types[to] is np.uint8 else x
    return Case(d.kind, [x], {"to": numbers[to]}, 1, d.opset(9))


def _gelu(d: Draw) -> Case:
    form = {"approximate": d.pick("none", "tanh")}
    return Case(d.kind, [d.floats(d.shape(0, 4), 3)], form, 1, 20, CLOSE)


STRATEGIES: dict[str, Strategy] = {
    "Abs": _function(tolerance=0), "Ceil": _function(tolerance=0), "Cos": _function(),
    "Elu": _function(alpha=(0.1, 2)), "Erf": _function(), "Exp": _function(),
    "Floor": _function(tolerance=0), "HardSigmoid": _function(alpha=(0.1, 1), beta=(0, 1)),
    "HardSwish": _function(), "Identity": _function(tolerance=0),
    "LeakyRelu": _function(tolerance=0, alpha=(0.01, 1)), "Log": _function(_positive),
    "Neg": _function(tolerance=0), "Not": _function(lambda d, s: d.numbers(s, np.bool_), 0),
    "Reciprocal": _function(_positive), "Relu": _function(tolerance=0), "Sigmoid": _function(),
    "Sin": _function(), "Softplus": _function(), "Sqrt": _function(_positive),
    "Tan": _function(lambda d, s: np.clip(d.floats(s), -1.4, 1.4)), "Tanh": _function(),
    "com.microsoft.QuickGelu": _function(alpha=(0.5, 2)),
    "Gelu": _gelu,
    "Add": _binary(np.float32, np.int32, np.int64, np.float64),
    "Sub": _binary(np.float32, np.int32, np.int64),
    "Mul": _binary(np.float32, np.int32, np.int64),
    "And": _binary(np.bool_),
    "Equal": _binary(np.int32, np.int64, np.bool_, np.float32, oldest=11),
    "Greater": _binary(np.float32, np.int32, np.int64, oldest=9),
    "GreaterOrEqual": _binary(np.float32, np.int32, np.int64, oldest=12),
    "Less": _binary(np.float32, np.int32, np.int64, oldest=9),
    "LessOrEqual": _binary(np.float32, np.int32, np.int64, oldest=12),
    "Div": _quotient, "Mod": _modulo, "Pow": _power, "Max": _several(0), "Min": _several(0),
    "Sum": _several(1e-6), "Clip": _clip, "PRelu": _prelu, "Where": _where, "Cast": _cast,
}  # fmt: skip
