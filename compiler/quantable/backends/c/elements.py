"""Element-wise operations: Add, Mul, Requantize, tables, and the reduction over axes."""

from __future__ import annotations

import math

from quantable.backends.c.space import broadcast_strides, contiguous, space
from quantable.backends.c.unit import Step
from quantable.ir import DType, Value


def distance(value: Value, zero_point: int) -> int:
    """Return the largest absolute value of ``x - zero_point`` for an element type."""
    return max(value.dtype.maximum - zero_point, zero_point - value.dtype.minimum)


def accumulator(bound: int) -> DType:
    """Return the type of an accumulator whose absolute value stays within a bound."""
    return DType.INT32 if bound <= DType.INT32.maximum else DType.INT64


def emit_add(step: Step) -> None:
    """int.Add."""
    op = step.operation
    bound = sum(
        distance(step.input(slot), op.int_attribute(f"{side}_zero_point"))
        * abs(op.int_attribute(f"{side}_multiplier"))
        for slot, side in enumerate("ab")
    )
    facts = step.fact("a_zero_point", "b_zero_point", "a_multiplier", "b_multiplier")
    _binary(step, "q_add", bound, facts)


def emit_mul(step: Step) -> None:
    """int.Mul."""
    zeros = [step.operation.int_attribute(f"{side}_zero_point") for side in "ab"]
    bound = math.prod(distance(step.input(slot), zero) for slot, zero in enumerate(zeros))
    _binary(step, "q_mul", bound, [*map(str, zeros), "1", "1"])


def _binary(step: Step, stem: str, bound: int, facts: list[str]) -> None:
    a, b, y = step.input(0), step.input(1), step.output()
    full = step.shape(y)
    strides = [broadcast_strides(step.shape(v), full) for v in (a, b)]
    nest = space(full, *strides)
    if step.is_streamed:  # both inputs have the shape of the output
        nest = f"{{1, {{{step.count()}}}, {{1}}, {{1}}}}"
    parameters = step.parameters(
        "q_binary", [nest, *facts, step.multiplier(), step.requantization()],
        is_static=not step.is_streamed,
    )  # fmt: skip
    function = step.kernel(
        stem, "q_binary.h", A=a.dtype, B=b.dtype, Y=y.dtype, ACC=accumulator(bound)
    )
    operands = [step.written(v.name) for v in (a, b, y)]
    step.shared_call(function, parameters, *operands)


def emit_requantize(step: Step) -> None:
    """int.Requantize."""
    x, y = step.input(0), step.output()
    parameters = step.parameters(
        "q_rescale",
        [step.count(), *step.fact("x_zero_point"), step.multiplier(), step.requantization()],
        is_static=not step.is_streamed,
    )
    function = step.kernel("q_rescale", "q_unary.h", X=x.dtype, Y=y.dtype)
    step.shared_call(function, parameters, step.written(x.name), step.written(y.name))


def emit_table(step: Step) -> None:
    """int.Table."""
    _look_up(step, "q_table", step.output().dtype)


def emit_interpolated_table(step: Step) -> None:
    """int.InterpolatedTable."""
    _look_up(step, "q_interpolate", DType.INT32)


def _look_up(step: Step, stem: str, entries: DType) -> None:
    x, y = step.input(0), step.output()
    function = step.kernel(stem, "q_unary.h", X=x.dtype, Y=y.dtype)
    table = step.constant("table", step.array(1), entries)
    step.shared_call(function, step.count(), step.written(x.name), table, step.written(y.name))


def emit_reduce_mean(step: Step) -> None:
    """int.ReduceMean."""
    x, y = step.input(0), step.output()
    shape = step.shape(x)
    strides = contiguous(shape)
    axes = {axis % len(shape) for axis in step.operation.ints_attribute("axes")}
    nests = []
    for inside in (False, True):
        chosen = [i for i in range(len(shape)) if (i in axes) is inside]
        nests.append(space([shape[i] for i in chosen], [strides[i] for i in chosen]))
    parameters = step.parameters(
        "q_reduce",
        [*nests, *step.fact("x_zero_point"), step.multiplier(), step.requantization()],
    )
    function = step.kernel("q_reduce_mean", "q_reduce.h", X=x.dtype, Y=y.dtype)
    step.call(function, parameters, step.pointer(x.name), step.pointer(y.name))
