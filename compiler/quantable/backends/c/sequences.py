"""Operations of transformers: MatMul, Softmax, LayerNormalization."""

from __future__ import annotations

import math
from dataclasses import dataclass

from quantable.backends.c.elements import accumulator, distance
from quantable.backends.c.space import broadcast_strides, space
from quantable.backends.c.text import integer
from quantable.backends.c.unit import Step
from quantable.ir import DType


@dataclass(frozen=True, slots=True)
class Product:
    """A batched product of two activations: C initializers and sizes.

    Attributes:
        batch: Initializer of the `q_space` of batch dimensions.
        count: How many products of matrices.
        rows, inner, columns: Of each.
        zero_points: Of both operands.
        bound: The largest absolute value of a sum.
    """

    batch: str
    count: int
    rows: int
    inner: int
    columns: int
    zero_points: tuple[int, int]
    bound: int


def product(step: Step) -> Product:
    """Read the geometry of an int.MatMul.

    A vector operand is a matrix of one row or column, as in NumPy.
    """
    a, b = step.input(0), step.input(1)
    shape_a, shape_b = step.shape(a), step.shape(b)
    shape_a = (1, *shape_a) if len(shape_a) == 1 else shape_a
    shape_b = (*shape_b, 1) if len(shape_b) == 1 else shape_b
    rows, inner, columns = shape_a[-2], shape_a[-1], shape_b[-1]
    batch = _broadcast(shape_a[:-2], shape_b[:-2])
    strides = []
    for shape, matrix in ((shape_a, rows * inner), (shape_b, inner * columns)):
        strides.append([s * matrix for s in broadcast_strides(shape[:-2], batch)])
    left, right = (step.operation.int_attribute(f"{side}_zero_point") for side in "ab")
    bound = inner * distance(a, left) * distance(b, right)
    loops = space(batch, *strides)
    return Product(loops, math.prod(batch), rows, inner, columns, (left, right), bound)


def emit_matmul(step: Step) -> None:
    """int.MatMul."""
    a, b, y = step.input(0), step.input(1), step.output()
    found = product(step)
    sizes = [found.rows, found.inner, found.columns, *found.zero_points]
    parameters = step.parameters(
        "q_matmul",
        [found.batch, *map(str, sizes), step.multiplier(), step.requantization()],
    )
    function = step.kernel(
        "q_matmul", "q_matmul.h", A=a.dtype, B=b.dtype, Y=y.dtype, ACC=accumulator(found.bound)
    )
    step.macs = found.count * found.rows * found.inner * found.columns
    step.call(function, parameters, *(step.pointer(v.name) for v in (a, b, y)))


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> list[int]:
    rank = max(len(a), len(b))
    padded = [(1,) * (rank - len(s)) + s for s in (a, b)]
    return [max(pair) for pair in zip(*padded, strict=True)]


def emit_softmax(step: Step) -> None:
    """int.Softmax."""
    x, y = step.input(0), step.output()
    shape = step.shape(x)
    sizes = [str(math.prod(shape[:-1])), str(shape[-1])]
    parameters = step.parameters("q_softmax", [*sizes, *step.fact("fraction_bits", "y_zero_point")])
    function = step.kernel("q_softmax", "q_softmax.h", X=x.dtype, Y=y.dtype)
    tables = [
        step.constant(role, step.array(slot), DType.UINT32)
        for slot, role in ((1, "high"), (2, "low"))
    ]
    step.shared_call(function, parameters, step.pointer(x.name), *tables, step.pointer(y.name))


def emit_layer_normalization(step: Step) -> None:
    """int.LayerNormalization."""
    x, y = step.input(0), step.output()
    shape = step.shape(x)
    sizes = [str(math.prod(shape[:-1])), str(shape[-1])]
    epsilon = integer(step.operation.int_attribute("epsilon"))
    parameters = step.parameters(
        "q_layer_norm", [*sizes, epsilon, step.multiplier(), step.requantization()]
    )
    function = step.kernel("q_layer_norm", "q_layer_norm.h", X=x.dtype, Y=y.dtype)
    gamma = step.constant("gamma", step.array(1), DType.INT32)
    beta = step.constant("beta", step.array(2), DType.INT64)
    operands = [step.pointer(x.name), gamma, beta, step.pointer(y.name)]
    step.shared_call(function, parameters, *operands)
