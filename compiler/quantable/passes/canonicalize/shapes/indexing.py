"""Shapes of operations that read shapes or pick elements: Shape, Gather, Slice, Range ..."""

from __future__ import annotations

import numpy as np

from quantable.ir import ContentRef, DType
from quantable.passes.canonicalize.shapes.site import (
    MOST_ELEMENTS,
    NotInferable,
    ShapeFunction,
    Site,
    Tensor,
    as_elements,
    known,
    product,
    sizes_of,
)
from quantable.passes.canonicalize.shapes.symbols import Expression

_FAR = (1 << 31) - 1
"""Ends from here on mean the end of the axis."""


def shape(site: Site) -> tuple[Tensor, ...]:
    """Shape: the dimensions from ``start`` to ``end``."""
    sizes = site.tensor(0).sizes
    start = site.operation.int_attribute("start")
    end = site.operation.int_attribute("end", len(sizes))
    part = sizes[start:end]
    elements = np.empty(len(part), np.object_)
    elements[:] = part
    return (Tensor(DType.INT64, sizes_of(len(part)), elements),)


def size(site: Site) -> tuple[Tensor, ...]:
    """Size: the number of elements."""
    elements = np.empty((), np.object_)
    elements[()] = product(site.tensor(0).sizes)
    return (Tensor(DType.INT64, (), elements),)


def constant_of_shape(site: Site) -> tuple[Tensor, ...]:
    """ConstantOfShape: one value everywhere, float 0 by default."""
    asked = site.elements(0)
    value = site.operation.attributes.get("value")
    dtype = value.dtype if isinstance(value, ContentRef) else DType.FLOAT32
    if asked is None:
        count = product(site.tensor(0).sizes).constant
        if count is None:
            raise NotInferable("the rank of the result is not known")
        return (Tensor(dtype, tuple(site.unknown(0, axis) for axis in range(count))),)
    dims = known(tuple(asked))
    elements = None
    is_small = dims is not None and int(np.prod(dims, dtype=np.int64)) <= MOST_ELEMENTS
    if dims is not None and is_small and isinstance(value, ContentRef) and dtype.is_integer:
        filled = int(site.store.get(value).reshape(-1)[0])
        elements = as_elements(np.full(dims, filled, np.int64))
    return (Tensor(dtype, tuple(asked), elements),)


def arange(site: Site) -> tuple[Tensor, ...]:
    """Range: start, limit, delta."""
    dtype = site.tensor(0).dtype
    ends = [site.elements(slot) for slot in range(3)]
    if any(item is None for item in ends):
        return (Tensor(dtype, (site.unknown(0, 0),)),)
    start, limit, delta = (item[0] for item in ends if item is not None)
    numbers = known((start, limit, delta))
    if numbers is not None:
        values = np.arange(*numbers)
        elements = as_elements(values) if values.size <= MOST_ELEMENTS else None
        return (Tensor(dtype, sizes_of(values.size), elements),)
    is_count = start.constant == 0 and delta.constant == 1
    return (Tensor(dtype, (limit if is_count else site.unknown(0, 0),)),)


def gather(site: Site) -> tuple[Tensor, ...]:
    """Gather: whole slices of one axis."""
    x, indices = site.tensor(0), site.tensor(1)
    axis = site.axis(site.operation.int_attribute("axis"), len(x.sizes))
    sizes = (*x.sizes[:axis], *indices.sizes, *x.sizes[axis + 1 :])
    picked = site.integers(1)
    elements = None
    if x.elements is not None and picked is not None and indices.elements is not None:
        index = np.array(picked, np.int64).reshape(indices.elements.shape)
        elements = np.asarray(np.take(x.elements, index, axis), np.object_)
    return (Tensor(x.dtype, sizes, elements),)


def gather_elements(site: Site) -> tuple[Tensor, ...]:
    """GatherElements: as many elements as there are indices."""
    return (Tensor(site.tensor(0).dtype, site.tensor(1).sizes),)


def gather_nd(site: Site) -> tuple[Tensor, ...]:
    """GatherND: the last axis of the indices holds coordinates."""
    x, indices = site.tensor(0), site.tensor(1)
    batch = site.operation.int_attribute("batch_dims")
    depth = indices.sizes[-1].constant
    if depth is None:
        raise NotInferable("the rank of the result is not known")
    return (Tensor(x.dtype, (*indices.sizes[:-1], *x.sizes[batch + depth :])),)


def slices(site: Site) -> tuple[Tensor, ...]:
    """Slice: starts, ends, axes, steps."""
    x = site.tensor(0)
    rank = len(x.sizes)
    starts, ends = site.elements(1), site.elements(2)
    count = product(site.tensor(1).sizes).constant
    axes = site.integers(3) if site.has(3) else tuple(range(count or 0))
    steps = site.integers(4) if site.has(4) else (1,) * (count or 0)
    if starts is None or ends is None or axes is None or steps is None:
        known_axes = {site.axis(a, rank) for a in axes} if axes is not None else range(rank)
        sizes = [site.unknown(0, i) if i in known_axes else s for i, s in enumerate(x.sizes)]
        return (Tensor(x.dtype, tuple(sizes)),)
    result = list(x.sizes)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = site.axis(axis, rank)
        result[axis] = _slice_length(site, axis, x.sizes[axis], start, end, step)
    return (Tensor(x.dtype, tuple(result), _sliced(x, starts, ends, axes, steps)),)


def _slice_length(
    site: Site, axis: int, full: Expression, start: Expression, end: Expression, step: int
) -> Expression:
    numbers = known((full, start, end))
    if numbers is not None:
        return Expression.of(len(slice_range(numbers[0], numbers[1], numbers[2], step)))
    low, high = start.constant, end.constant
    if step < 1 or low is None:
        return site.unknown(0, axis)
    first = full + low if low < 0 else Expression.of(low)
    if (high is not None and high >= _FAR) or end == full:
        last = full
    elif high is not None and high < 0:
        last = full + high
    else:
        return site.unknown(0, axis)
    return (last - first + (step - 1)).floor_quotient(step)


def slice_range(size: int, start: int, end: int, step: int) -> range:
    """Return the positions of an axis that a Slice takes.

    ONNX clamps where it begins and ends to the axis, so that a step backwards that begins before
    the first position takes that one. Python's slices would take none.
    """
    start, end = (bound + size if bound < 0 else bound for bound in (start, end))
    if step > 0:
        return range(min(max(start, 0), size), min(max(end, 0), size), step)
    return range(min(max(start, 0), size - 1), min(max(end, -1), size - 1), step)


def _sliced(
    x: Tensor,
    starts: list[Expression],
    ends: list[Expression],
    axes: tuple[int, ...],
    steps: tuple[int, ...],
) -> np.ndarray[tuple[int, ...], np.dtype[np.object_]] | None:
    low, high = known(tuple(starts)), known(tuple(ends))
    if x.elements is None or low is None or high is None:
        return None
    taken = x.elements
    for axis, start, end, step in zip(axes, low, high, steps, strict=True):
        taken = taken.take(slice_range(taken.shape[axis], start, end, step), axis)
    return taken


FUNCTIONS: dict[str, ShapeFunction] = {
    "ConstantOfShape": constant_of_shape,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "Range": arange,
    "Shape": shape,
    "Size": size,
    "Slice": slices,
}
"""Shape functions by operation kind."""
