"""Shapes of matrix products and reductions."""

from __future__ import annotations

from quantable.ir import DType
from quantable.passes.canonicalize.shapes.broadcasting import broadcast
from quantable.passes.canonicalize.shapes.site import (
    NotInferable,
    ShapeFunction,
    Site,
    Sizes,
    Tensor,
)
from quantable.passes.canonicalize.shapes.symbols import Expression


def matmul(site: Site) -> tuple[Tensor, ...]:
    """NumPy matmul: vectors are promoted, leading dimensions broadcast."""
    a, b = site.tensor(0), site.tensor(1)
    left = a.sizes if len(a.sizes) > 1 else (Expression.of(1), *a.sizes)
    right = b.sizes if len(b.sizes) > 1 else (*b.sizes, Expression.of(1))
    site.equate(left[-1], right[-2])
    batch = broadcast(site, left[:-2], right[:-2]) if len(left) + len(right) > 4 else ()
    rows = (left[-2],) if len(a.sizes) > 1 else ()
    columns = (right[-1],) if len(b.sizes) > 1 else ()
    return (Tensor(a.dtype, (*batch, *rows, *columns)),)


def linear(site: Site) -> tuple[Tensor, ...]:
    """quantable.Linear: x [.., K], weight [K, N]."""
    x, weight = site.tensor(0), site.tensor(1)
    site.equate(x.sizes[-1], weight.sizes[0])
    return (Tensor(x.dtype, (*x.sizes[:-1], weight.sizes[1])),)


def gemm(site: Site) -> tuple[Tensor, ...]:
    """Gemm: a [M, K], b [K, N], each perhaps transposed."""
    op, a, b = site.operation, site.tensor(0), site.tensor(1)
    rows, inner = a.sizes[:: -1 if op.int_attribute("transA") else 1]
    other, columns = b.sizes[:: -1 if op.int_attribute("transB") else 1]
    site.equate(inner, other)
    return (Tensor(a.dtype, (rows, columns)),)


def _axes(site: Site, rank: int) -> tuple[int, ...] | None:
    """Return the reduced axes, None where they are not known."""
    op = site.operation
    given: tuple[int, ...] | None = op.ints_attribute("axes")
    if site.has(1):
        given = site.integers(1)
    if given is None:
        return None
    if not given:
        return () if op.int_attribute("noop_with_empty_axes") else tuple(range(rank))
    return tuple(site.axis(axis, rank) for axis in given)


def _reduced(site: Site, sizes: Sizes, axes: tuple[int, ...]) -> Sizes:
    if site.operation.int_attribute("keepdims", 1):
        one = Expression.of(1)
        return tuple(one if axis in axes else size for axis, size in enumerate(sizes))
    return tuple(size for axis, size in enumerate(sizes) if axis not in axes)


def reduction(site: Site) -> tuple[Tensor, ...]:
    """Reduce*: axes as an attribute or as input 1."""
    x = site.tensor(0)
    rank = len(x.sizes)
    axes = _axes(site, rank)
    if axes is not None:
        return (Tensor(x.dtype, _reduced(site, x.sizes, axes)),)
    if not site.operation.int_attribute("keepdims", 1):
        raise NotInferable("expected axes that are known, found computed ones")
    return (Tensor(x.dtype, tuple(site.unknown(0, axis) for axis in range(rank))),)


def arg_reduction(site: Site) -> tuple[Tensor, ...]:
    """ArgMax, ArgMin: one axis, integers."""
    x = site.tensor(0)
    axis = site.axis(site.operation.int_attribute("axis"), len(x.sizes))
    return (Tensor(DType.INT64, _reduced(site, x.sizes, (axis,))),)


_REDUCTIONS = """
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
    ReduceSum ReduceSumSquare
"""
FUNCTIONS: dict[str, ShapeFunction] = {
    **dict.fromkeys(_REDUCTIONS.split(), reduction),
    "ArgMax": arg_reduction,
    "ArgMin": arg_reduction,
    "Gemm": gemm,
    "MatMul": matmul,
    "quantable.Linear": linear,
}
"""Shape functions by operation kind."""
