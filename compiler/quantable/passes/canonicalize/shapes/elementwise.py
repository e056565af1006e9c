"""Shapes of elementwise operations, and of those that keep their input's shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from quantable.ir import ONNX_NUMBERS, DType
from quantable.passes.canonicalize.shapes.broadcasting import broadcast
from quantable.passes.canonicalize.shapes.site import (
    Elements,
    ShapeFunction,
    Site,
    Sizes,
    Tensor,
    as_elements,
    known,
)
from quantable.passes.canonicalize.shapes.symbols import Expression

_Combine = Callable[[Expression, Expression], Expression | None]


def _divide(a: Expression, b: Expression) -> Expression | None:
    left, right = a.constant, b.constant
    if left is not None and right:
        quotient = abs(left) // abs(right)  # ONNX rounds towards zero
        return Expression.of(quotient if (left < 0) == (right < 0) else -quotient)
    exact = a.exact_quotient(b)
    if exact is not None:
        return exact
    # A dimension is not negative, so floor and truncation agree where no coefficient is negative.
    positive = right is not None and right > 0 and all(c > 0 for _, c in a.terms)
    return a.floor_quotient(right) if positive and right else None


def _modulo(a: Expression, b: Expression) -> Expression | None:
    left, right = a.constant, b.constant
    return Expression.of(left % right) if left is not None and right else None


def _equal(a: Expression, b: Expression) -> Expression | None:
    difference = a - b
    if difference.constant is not None:
        return Expression.of(int(difference.constant == 0))
    signs = {coefficient > 0 for _, coefficient in difference.terms}
    has_constant = any(not symbols for symbols, _ in difference.terms)
    return Expression.of(0) if has_constant and len(signs) == 1 else None


def _ordered(compare: Callable[[int, int], int]) -> _Combine:
    def combine(a: Expression, b: Expression) -> Expression | None:
        if a.constant is None or b.constant is None:
            return a if a == b and compare in (min, max) else None
        return Expression.of(int(compare(a.constant, b.constant)))

    return combine


_COMBINE: dict[str, _Combine] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": _divide,
    "Mod": _modulo,
    "Equal": _equal,
    "Less": _ordered(lambda a, b: a < b),
    "LessOrEqual": _ordered(lambda a, b: a <= b),
    "Greater": _ordered(lambda a, b: a > b),
    "GreaterOrEqual": _ordered(lambda a, b: a >= b),
    "Max": _ordered(max),
    "Min": _ordered(min),
    "And": _ordered(lambda a, b: a and b),
    "Or": _ordered(lambda a, b: a or b),
}


def same(site: Site) -> tuple[Tensor, ...]:
    """Return the first input's type and shape for every output."""
    first = site.tensor(0)
    return tuple(Tensor(first.dtype, first.sizes) for _ in site.operation.outputs)


def identity(site: Site) -> tuple[Tensor, ...]:
    """Return the first input, elements included; a second output is a mask."""
    first = site.tensor(0)
    return (first, Tensor(DType.BOOL, first.sizes))[: len(site.operation.outputs)]


def negative(site: Site) -> tuple[Tensor, ...]:
    """Return the negated input."""
    first = site.tensor(0)
    if first.elements is None:
        return same(site)
    return (Tensor(first.dtype, first.sizes, as_elements(-first.elements)),)


def cast(site: Site) -> tuple[Tensor, ...]:
    """Return the input with another type; elements are kept among integers and bool."""
    first = site.tensor(0)
    dtype = ONNX_NUMBERS[site.operation.int_attribute("to")]
    is_kept = dtype in (DType.INT64, DType.INT32)
    return (Tensor(dtype, first.sizes, first.elements if is_kept else None),)


def predicate(site: Site) -> tuple[Tensor, ...]:
    """Return bool in the first input's shape."""
    return (Tensor(DType.BOOL, site.tensor(0).sizes),)


def arithmetic(site: Site) -> tuple[Tensor, ...]:
    """Return the broadcast of all inputs, in the first input's type."""
    return _broadcasting(site, site.tensor(0).dtype)


def comparison(site: Site) -> tuple[Tensor, ...]:
    """Return the broadcast of both inputs, as bool."""
    return _broadcasting(site, DType.BOOL)


def _broadcasting(site: Site, dtype: DType) -> tuple[Tensor, ...]:
    tensors = [t for t in site.inputs if t is not None]
    sizes = broadcast(site, *(t.sizes for t in tensors))
    return (Tensor(dtype, sizes, _combined(site, tensors, sizes)),)


def _combined(site: Site, tensors: list[Tensor], sizes: Sizes) -> Elements | None:
    combine = _COMBINE.get(site.operation.kind)
    shape = known(sizes)
    elements = [t.elements for t in tensors if t.elements is not None]
    if combine is None or shape is None or len(elements) != len(tensors):
        return None
    total = elements[0]
    for other in elements[1:]:
        pairs = zip(_flat(total, shape), _flat(other, shape), strict=True)
        combined = [combine(a, b) for a, b in pairs]
        if any(item is None for item in combined):
            return None
        total = _reshaped(combined, shape)
    return np.broadcast_to(total, shape)


def _flat(elements: Elements, shape: tuple[int, ...]) -> list[Expression]:
    flat: list[Expression] = np.broadcast_to(elements, shape).reshape(-1).tolist()
    return flat


def _reshaped(items: Sequence[Expression | None], shape: tuple[int, ...]) -> Elements:
    result = np.empty(len(items), np.object_)
    result[:] = items
    return result.reshape(shape)


def where(site: Site) -> tuple[Tensor, ...]:
    """Return the broadcast of all three inputs, in the second one's type."""
    tensors = [site.tensor(slot) for slot in range(3)]
    sizes = broadcast(site, *(t.sizes for t in tensors))
    shape = known(sizes)
    elements = [t.elements for t in tensors if t.elements is not None]
    if shape is None or len(elements) != 3:
        return (Tensor(tensors[1].dtype, sizes),)
    condition, yes, no = (_flat(item, shape) for item in elements)
    chosen = [y if c.constant else n for c, y, n in zip(condition, yes, no, strict=True)]
    return (Tensor(tensors[1].dtype, sizes, _reshaped(chosen, shape)),)


def dequantize(site: Site) -> tuple[Tensor, ...]:
    """Return the first input's shape in the scale's type."""
    return (Tensor(site.tensor(1).dtype, site.tensor(0).sizes),)


def quantize(site: Site) -> tuple[Tensor, ...]:
    """Return the first input's shape in the type of the zero point, else what the node names."""
    number = site.operation.int_attribute("output_dtype")
    dtype = site.tensor(2).dtype if site.has(2) else ONNX_NUMBERS.get(number, DType.UINT8)
    return (Tensor(dtype, site.tensor(0).sizes),)


def layer_normalization(site: Site) -> tuple[Tensor, ...]:
    """Return the input's shape; mean and inverse deviation have 1 on every normalized axis."""
    first = site.tensor(0)
    rank = len(first.sizes)
    axis = site.axis(site.operation.int_attribute("axis", -1), rank)
    statistics = (*first.sizes[:axis], *(Expression.of(1) for _ in range(rank - axis)))
    outputs = (first, Tensor(DType.FLOAT32, statistics), Tensor(DType.FLOAT32, statistics))
    return tuple(Tensor(t.dtype, t.sizes) for t in outputs[: len(site.operation.outputs)])


def _named(names: str, function: ShapeFunction) -> dict[str, ShapeFunction]:
    return dict.fromkeys(names.split(), function)


FUNCTIONS: dict[str, ShapeFunction] = {
    **_named(
        """Abs Acos Acosh Asin Asinh Atan Atanh BatchNormalization Ceil Celu Clip Cos Cosh Elu Erf
        Exp Floor Gelu GroupNormalization HardSigmoid HardSwish InstanceNormalization LRN LeakyRelu
        Log LogSoftmax LpNormalization Mish Not PRelu Reciprocal Relu Round Selu Sigmoid Sign Sin
        Sinh Softmax Softplus Softsign Sqrt Tan Tanh ThresholdedRelu Trilu""",
        same,
    ),
    **_named("Add Div Max Mean Min Mod Mul Pow Sub Sum", arithmetic),
    **_named("And Equal Greater GreaterOrEqual Less LessOrEqual Or Xor", comparison),
    **_named("Dropout Identity", identity),
    **_named("IsInf IsNaN", predicate),
    "Cast": cast,
    "DequantizeLinear": dequantize,
    "LayerNormalization": layer_normalization,
    "Neg": negative,
    "QuantizeLinear": quantize,
    "Where": where,
}
"""Shape functions by operation kind."""
