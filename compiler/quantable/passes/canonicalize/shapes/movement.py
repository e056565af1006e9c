"""Shapes of operations that move elements: reshape, transpose, concat, pad ..."""

from __future__ import annotations

import numpy as np

from quantable.passes.canonicalize.shapes.broadcasting import broadcast
from quantable.passes.canonicalize.shapes.site import (
    Elements,
    NotInferable,
    ShapeFunction,
    Site,
    Sizes,
    Tensor,
    known,
    product,
)
from quantable.passes.canonicalize.shapes.symbols import Expression


def _moved(tensor: Tensor, sizes: Sizes) -> Tensor:
    """Return a tensor with the same elements in the same order in another shape."""
    shape = known(sizes)
    elements = None
    if tensor.elements is not None and shape is not None:
        elements = tensor.elements.reshape(shape)
    return Tensor(tensor.dtype, sizes, elements)


def _of_unknown_size(site: Site, rank: int) -> tuple[Tensor, ...]:
    dtype = site.tensor(0).dtype
    return (Tensor(dtype, tuple(site.unknown(0, axis) for axis in range(rank))),)


def _length(site: Site, slot: int) -> int:
    """Return the number of elements of a 1-D input, for instance the rank it asks for."""
    count = product(site.tensor(slot).sizes).constant
    if count is None:
        raise NotInferable("the rank of the result is not known")
    return count


def reshape(site: Site) -> tuple[Tensor, ...]:
    """Reshape: 0 copies a dimension, -1 takes the rest."""
    x, asked = site.tensor(0), site.elements(1)
    if asked is None:
        return _of_unknown_size(site, _length(site, 1))
    copies = not site.operation.int_attribute("allowzero")
    sizes = [x.sizes[i] if copies and a.constant == 0 else a for i, a in enumerate(asked)]
    open_axes = [i for i, size in enumerate(sizes) if size.constant == -1]
    rest = product(tuple(size for size in sizes if size.constant != -1))
    if not open_axes:
        site.equate(product(x.sizes), rest)
        return (_moved(x, tuple(sizes)),)
    total = product(x.sizes)
    quotient = _zero_safe_quotient(total, rest)
    sizes[open_axes[0]] = site.unknown(0, open_axes[0]) if quotient is None else quotient
    return (_moved(x, tuple(sizes)),)


def _zero_safe_quotient(total: Expression, rest: Expression) -> Expression | None:
    if rest.constant == 0:
        return Expression.of(0) if total.constant == 0 else None
    return total.exact_quotient(rest)


def flatten(site: Site) -> tuple[Tensor, ...]:
    """Flatten: two dimensions, split at an axis."""
    x = site.tensor(0)
    axis = site.operation.int_attribute("axis", 1)
    axis = axis + len(x.sizes) if axis < 0 else axis
    return (_moved(x, (product(x.sizes[:axis]), product(x.sizes[axis:]))),)


def transpose(site: Site) -> tuple[Tensor, ...]:
    """Transpose: by default all axes reversed."""
    x = site.tensor(0)
    perm = site.operation.ints_attribute("perm") or tuple(range(len(x.sizes)))[::-1]
    elements = None if x.elements is None else x.elements.transpose(perm)
    return (Tensor(x.dtype, tuple(x.sizes[axis] for axis in perm), elements),)


def squeeze(site: Site) -> tuple[Tensor, ...]:
    """Squeeze: axes of size 1 are removed; without axes all of them."""
    x = site.tensor(0)
    axes = site.integers(1)
    if axes is None:
        if site.has(1):
            raise NotInferable("expected axes that are known, found computed ones")
        axes = tuple(i for i, size in enumerate(x.sizes) if size.constant == 1)
    gone = {site.axis(axis, len(x.sizes)) for axis in axes}
    return (_moved(x, tuple(size for i, size in enumerate(x.sizes) if i not in gone)),)


def unsqueeze(site: Site) -> tuple[Tensor, ...]:
    """Unsqueeze: axes of size 1 are inserted."""
    x, axes = site.tensor(0), site.integers(1)
    if axes is None:
        raise NotInferable("expected axes that are known, found computed ones")
    rank = len(x.sizes) + len(axes)
    new = {site.axis(axis, rank) for axis in axes}
    rest = iter(x.sizes)
    return (_moved(x, tuple(Expression.of(1) if i in new else next(rest) for i in range(rank))),)


def concat(site: Site) -> tuple[Tensor, ...]:
    """Concat: sizes add up on one axis."""
    tensors = [t for t in site.inputs if t is not None]
    first = tensors[0]
    axis = site.axis(site.operation.int_attribute("axis"), len(first.sizes))
    total = Expression.of(0)
    for tensor in tensors:
        total = total + tensor.sizes[axis]
    sizes = [_agreed([t.sizes[i] for t in tensors]) for i in range(len(first.sizes))]
    sizes[axis] = total
    parts = [t.elements for t in tensors if t.elements is not None]
    elements = np.concatenate(parts, axis) if len(parts) == len(tensors) else None
    return (Tensor(first.dtype, tuple(sizes), elements),)


def _agreed(sizes: list[Expression]) -> Expression:
    """Return the size that all must have: a number where one of them is a number."""
    return next((size for size in sizes if size.constant is not None), sizes[0])


def split(site: Site) -> tuple[Tensor, ...]:
    """Split: into given sizes, or into equal parts with the last one smaller."""
    x, count = site.tensor(0), len(site.operation.outputs)
    axis = site.axis(site.operation.int_attribute("axis"), len(x.sizes))
    lengths: list[Expression] | None = site.elements(1)
    if lengths is None and not site.has(1):
        lengths = _equal_parts(x.sizes[axis], count)
    if lengths is None:
        lengths = [site.unknown(i, axis) for i in range(count)]
    sizes = [(*x.sizes[:axis], length, *x.sizes[axis + 1 :]) for length in lengths]
    numbers = [length.constant for length in lengths]
    parts: list[Elements | None] = [None] * count
    if x.elements is not None and None not in numbers:
        ends = np.cumsum([n for n in numbers if n is not None])[:-1]
        parts = list(np.split(x.elements, ends, axis))
    return tuple(Tensor(x.dtype, s, p) for s, p in zip(sizes, parts, strict=True))


def _equal_parts(size: Expression, count: int) -> list[Expression] | None:
    exact = size.exact_quotient(Expression.of(count))
    if exact is not None:
        return [exact] * count
    if size.constant is None:
        return None
    part = -(-size.constant // count)
    return [Expression.of(part)] * (count - 1) + [Expression.of(size.constant - part * (count - 1))]


def pad(site: Site) -> tuple[Tensor, ...]:
    """Pad: begin of every axis, then end; input 3 names the axes."""
    x, pads = site.tensor(0), site.elements(1)
    rank = len(x.sizes)
    if pads is None:
        return _of_unknown_size(site, rank)
    axes = site.integers(3) if site.has(3) else tuple(range(rank))
    if axes is None:
        return _of_unknown_size(site, rank)
    sizes = list(x.sizes)
    for index, axis in enumerate(axes):
        axis = site.axis(axis, rank)
        sizes[axis] = sizes[axis] + pads[index] + pads[index + len(axes)]
    return (Tensor(x.dtype, tuple(sizes)),)


def expand(site: Site) -> tuple[Tensor, ...]:
    """Expand: broadcast to a shape."""
    x, asked = site.tensor(0), site.elements(1)
    if asked is None:
        return _of_unknown_size(site, max(len(x.sizes), _length(site, 1)))
    sizes = broadcast(site, x.sizes, tuple(asked))
    shape = known(sizes)
    elements = None
    if x.elements is not None and shape is not None:
        elements = np.broadcast_to(x.elements, shape)
    return (Tensor(x.dtype, sizes, elements),)


def tile(site: Site) -> tuple[Tensor, ...]:
    """Tile: every axis repeated."""
    x, repeats = site.tensor(0), site.elements(1)
    if repeats is None:
        return _of_unknown_size(site, len(x.sizes))
    sizes = tuple(size * count for size, count in zip(x.sizes, repeats, strict=True))
    return (Tensor(x.dtype, sizes),)


def depth_to_space(site: Site) -> tuple[Tensor, ...]:
    """DepthToSpace: [N, C*b*b, H, W] -> [N, C, H*b, W*b]."""
    x, block = site.tensor(0), site.operation.int_attribute("blocksize")
    n, c, h, w = x.sizes
    return (Tensor(x.dtype, (n, c.floor_quotient(block * block), h * block, w * block)),)


def space_to_depth(site: Site) -> tuple[Tensor, ...]:
    """SpaceToDepth: [N, C, H*b, W*b] -> [N, C*b*b, H, W]."""
    x, block = site.tensor(0), site.operation.int_attribute("blocksize")
    n, c, h, w = x.sizes
    sizes = (n, c * (block * block), h.floor_quotient(block), w.floor_quotient(block))
    return (Tensor(x.dtype, sizes),)


def resize(site: Site) -> tuple[Tensor, ...]:
    """Resize: by scales (input 2) or to sizes (input 3), of all axes or of some."""
    x, op = site.tensor(0), site.operation
    rank = len(x.sizes)
    axes = [site.axis(a, rank) for a in op.ints_attribute("axes") or tuple(range(rank))]
    sizes = list(x.sizes)
    asked, scales = site.elements(3), site.constant(2)
    if op.string_attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        return _of_unknown_size(site, rank)
    for index, axis in enumerate(axes):
        if asked is not None:
            sizes[axis] = asked[index]
        elif scales is not None:
            sizes[axis] = _scaled(site, axis, sizes[axis], float(scales.reshape(-1)[index]))
        else:
            sizes[axis] = site.unknown(0, axis)
    return (Tensor(x.dtype, tuple(sizes)),)


def _scaled(site: Site, axis: int, size: Expression, scale: float) -> Expression:
    if scale == int(scale):
        return size * int(scale)
    number = size.constant
    return site.unknown(0, axis) if number is None else Expression.of(int(number * scale))


FUNCTIONS: dict[str, ShapeFunction] = {
    "Concat": concat,
    "DepthToSpace": depth_to_space,
    "Expand": expand,
    "Flatten": flatten,
    "Pad": pad,
    "Reshape": reshape,
    "Resize": resize,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
"""Shape functions by operation kind."""
