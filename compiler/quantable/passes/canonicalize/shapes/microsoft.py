"""Shapes of the operations of com.microsoft on real numbers."""

from __future__ import annotations

from dataclasses import replace

from quantable.ir import DType
from quantable.passes.canonicalize.shapes import elementwise, indexing, matrices, movement, windows
from quantable.passes.canonicalize.shapes.broadcasting import broadcast
from quantable.passes.canonicalize.shapes.site import (
    NotInferable,
    ShapeFunction,
    Site,
    Sizes,
    Tensor,
)
from quantable.passes.canonicalize.shapes.symbols import Expression


def _turned(sizes: Sizes, is_matrix: int, is_batch: int) -> Sizes:
    """Return the sizes of an operand of FusedMatMul as the product sees it."""
    if is_batch:
        sizes = (*sizes[1:-1], sizes[0], sizes[-1])
    return (*sizes[:-2], sizes[-1], sizes[-2]) if is_matrix and len(sizes) > 1 else sizes


def _fused_matmul(site: Site) -> tuple[Tensor, ...]:
    op, a, b = site.operation, site.tensor(0), site.tensor(1)
    left = _turned(a.sizes, op.int_attribute("transA"), op.int_attribute("transBatchA"))
    right = _turned(b.sizes, op.int_attribute("transB"), op.int_attribute("transBatchB"))
    inputs = (Tensor(a.dtype, left), Tensor(b.dtype, right))
    return matrices.matmul(replace(site, inputs=inputs))


def _distances(site: Site) -> tuple[Tensor, ...]:
    a, b = site.tensor(0), site.tensor(1)
    return (Tensor(a.dtype, (a.sizes[0], b.sizes[0])),)


def _crops(site: Site) -> tuple[Tensor, ...]:
    x, rois, size = site.tensor(0), site.tensor(1), site.elements(3)
    spatial = (site.unknown(0, 2), site.unknown(0, 3)) if size is None else tuple(size)
    return (Tensor(x.dtype, (rois.sizes[0], x.sizes[1], *spatial)),)


def _pool_channels_last(site: Site) -> tuple[Tensor, ...]:
    x = site.tensor(0)
    first = Tensor(x.dtype, (x.sizes[0], x.sizes[-1], *x.sizes[1:-1]))
    (made, *_) = windows.pool(replace(site, inputs=(first,)))
    return (Tensor(x.dtype, (made.sizes[0], *made.sizes[2:], made.sizes[1])),)


def _expand_dims(site: Site) -> tuple[Tensor, ...]:
    x, axes = site.tensor(0), site.integers(1)
    if axes is None:
        raise NotInferable("expected an axis that is known, found a computed one")
    axis = site.axis(axes[0], len(x.sizes) + 1)
    return (Tensor(x.dtype, (*x.sizes[:axis], Expression.of(1), *x.sizes[axis:])),)


def _grid_sample(site: Site) -> tuple[Tensor, ...]:
    x, grid = site.tensor(0), site.tensor(1)
    return (Tensor(x.dtype, (*x.sizes[:2], *grid.sizes[1:-1])),)


def _unique(site: Site) -> tuple[Tensor, ...]:
    x = site.tensor(0)
    found = site.unknown(0, 0)
    tensors = (Tensor(x.dtype, (found,)), Tensor(DType.INT64, x.sizes),
               Tensor(DType.INT64, (found,)))  # fmt: skip
    return tensors[: len(site.operation.outputs)]


def _skip_normalization(site: Site) -> tuple[Tensor, ...]:
    """Output, mean, inverse deviation, and the sum that is normalized."""
    x = site.tensor(0)
    sizes = broadcast(site, x.sizes, site.tensor(1).sizes)
    statistics = Tensor(DType.FLOAT32, (*sizes[:-1], Expression.of(1)))
    full = Tensor(x.dtype, sizes)
    return (full, statistics, statistics, full)[: len(site.operation.outputs)]


def _simplified_normalization(site: Site) -> tuple[Tensor, ...]:
    x = site.tensor(0)
    axis = site.axis(site.operation.int_attribute("axis", -1), len(x.sizes))
    ones = (Expression.of(1) for _ in x.sizes[axis:])
    statistics = Tensor(DType.FLOAT32, (*x.sizes[:axis], *ones))
    return (Tensor(x.dtype, x.sizes), statistics)[: len(site.operation.outputs)]


def _embedding(site: Site) -> tuple[Tensor, ...]:
    """Output, number of valid ids, and the sum that is normalized."""
    ids, words = site.tensor(0), site.tensor(2)
    full = Tensor(words.dtype, (*ids.sizes, words.sizes[1]))
    tensors = (full, Tensor(DType.INT32, (ids.sizes[0],)), full)
    return tensors[: len(site.operation.outputs)]


FUNCTIONS: dict[str, ShapeFunction] = {
    f"com.microsoft.{kind}": function
    for kind, function in {
        "BiasGelu": elementwise.arithmetic,
        "CDist": _distances,
        "CropAndResize": _crops,
        "EmbedLayerNormalization": _embedding,
        "ExpandDims": _expand_dims,
        "FastGelu": elementwise.arithmetic,
        "FusedConv": windows.convolution,
        "FusedGemm": matrices.gemm,
        "FusedMatMul": _fused_matmul,
        "GatherND": indexing.gather_nd,
        "Gelu": elementwise.same,
        "GridSample": _grid_sample,
        "Inverse": elementwise.same,
        "NhwcMaxPool": _pool_channels_last,
        "Pad": movement.pad,
        "QuickGelu": elementwise.same,
        "Range": indexing.arange,
        "SimplifiedLayerNormalization": _simplified_normalization,
        "SkipLayerNormalization": _skip_normalization,
        "SkipSimplifiedLayerNormalization": _skip_normalization,
        "TransposeMatMul": _fused_matmul,
        "Trilu": elementwise.same,
        "Unique": _unique,
    }.items()
}
"""Shape functions by operation kind."""
