"""Movement operations: strided copies of regions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from quantable.backends.c.space import contiguous, initializer, merged, space
from quantable.backends.c.unit import Step
from quantable.ir import DType, UnsupportedError, Value

Segment = tuple[int, int, int, int]
"""Along one axis: first index of the source, step in the source, first index of the destination,
count."""


def copy(step: Step, x: Value, y: Value, regions: Sequence[Segment]) -> None:
    """Add a copy of one region, a segment an axis."""
    dims = [count for _, _, _, count in regions]
    if 0 in dims:
        return
    from_strides, to_strides = contiguous(step.shape(x)), contiguous(step.shape(y))
    source = sum(r[0] * s for r, s in zip(regions, from_strides, strict=True))
    target = sum(r[2] * s for r, s in zip(regions, to_strides, strict=True))
    a = [r[1] * s for r, s in zip(regions, from_strides, strict=True)]
    walk = space(dims, a, to_strides)
    pointers = [_plus(step.pointer(x.name), source), _plus(step.pointer(y.name), target)]
    _strided(step, x.dtype, walk, *pointers)


def _strided(step: Step, dtype: DType, walk: str, source: str, target: str) -> None:
    function = step.kernel("q_copy", "q_move.h", X=dtype)
    step.lines += [
        "{",
        f"  static const q_space space = {walk};",
        f"  {function}(Q_SHARE(t), &space, {source}, {target});",
        "}",
    ]
    step.is_shared = True


def _plus(pointer: str, offset: int) -> str:
    return f"{pointer} + {offset}" if offset else pointer


def _whole(shape: Sequence[int]) -> list[Segment]:
    return [(0, 1, 0, dim) for dim in shape]


def emit_concat(step: Step) -> None:
    """Concat: a copy an input."""
    y = step.output()
    shape = step.shape(y)
    axis, position = step.operation.int_attribute("axis") % len(shape), 0
    for slot in range(len(step.operation.inputs)):
        x = step.input(slot)
        regions = _whole(step.shape(x))
        count = regions[axis][3]
        regions[axis] = (0, 1, position, count)
        copy(step, x, y, regions)
        position += count


def emit_split(step: Step) -> None:
    """Split: a copy an output."""
    x = step.input(0)
    axis, position = step.operation.int_attribute("axis") % len(step.shape(x)), 0
    for slot, name in enumerate(step.operation.outputs):
        y = step.output(slot)
        regions = _whole(step.shape(y))
        count = regions[axis][3]
        regions[axis] = (position, 1, 0, count)
        if name:
            copy(step, x, y, regions)
        position += count


def emit_slice(step: Step) -> None:
    """Slice: one copy, with steps of any sign."""
    x, y = step.input(0), step.output()
    shape, regions = step.shape(x), _whole(step.shape(y))
    starts = _ints(step, 1)
    axes = _ints(step, 3) if step.has_input(3) else list(range(len(starts)))
    steps = _ints(step, 4) if step.has_input(4) else [1] * len(starts)
    for start, axis, stride in zip(starts, axes, steps, strict=True):
        dim, count = shape[axis], regions[axis][3]
        first = start + dim if start < 0 else start
        first = min(max(first, 0), dim - 1 if stride < 0 else dim)
        regions[axis] = (first, stride, 0, count)
    copy(step, x, y, regions)


def emit_pad(step: Step) -> None:
    """Pad: by rows where it can be, else constants fill, and every region is copied."""
    x, y = step.input(0), step.output()
    shape, mode = step.shape(x), step.operation.string_attribute("mode", "constant")
    pads = _ints(step, 1)
    axes = _ints(step, 3) if step.has_input(3) else list(range(len(shape)))
    borders = {a % len(shape): (pads[i], pads[i + len(axes)]) for i, a in enumerate(axes)}
    if mode == "constant" and _emit_rows(step, shape, borders):
        return
    segments = [[segment] for segment in _whole(shape)]
    for position, axis in enumerate(axes):
        begin, end = pads[position], pads[position + len(axes)]
        segments[axis] = _padded(mode, shape[axis], begin, end)
    if mode == "constant":
        value = _filler(step)
        function = step.kernel("q_fill", "q_move.h", X=y.dtype)
        count = str(math.prod(step.shape(y)))
        step.shared_call(function, count, str(value), step.pointer(y.name))
        step.meet()
    for regions in itertools.product(*segments):
        copy(step, x, y, regions)


def _filler(step: Step) -> int:
    return int(step.array(2).reshape(-1)[0]) if step.has_input(2) else 0


def _emit_rows(step: Step, shape: Sequence[int], borders: dict[int, tuple[int, int]]) -> bool:
    """Pad two neighbouring axes, or one, with constants, every element written once."""
    padded = sorted(axis for axis, sides in borders.items() if any(sides))
    if not padded or padded[-1] - padded[0] > 1 or min(map(min, borders.values())) < 0:
        return False
    inner_axis = padded[-1]
    top, bottom = borders[padded[0]] if len(padded) == 2 else (0, 0)
    outer_axes = shape[: inner_axis + 1 - len(padded)]
    rows = shape[padded[0]] if len(padded) == 2 else 1
    left, right = borders[inner_axis]
    inner = math.prod(shape[inner_axis + 1 :])
    line = (left + shape[inner_axis] + right) * inner
    facts = [
        math.prod(outer_axes), rows, shape[inner_axis] * inner, top * line + left * inner,
        (left + right) * inner, right * inner + bottom * line,
    ]  # fmt: skip
    y = step.output()
    function = step.kernel("q_pad", "q_move.h", X=y.dtype)
    parameters = step.parameters("q_pad", [str(fact) for fact in facts])
    x = step.pointer(step.input(0).name)
    step.shared_call(function, parameters, str(_filler(step)), x, step.pointer(y.name))
    return True


def _padded(mode: str, dim: int, begin: int, end: int) -> list[Segment]:
    """Return the segments of one padded axis; negative pads cut."""
    first, before = max(-begin, 0), max(begin, 0)
    inner: Segment = (first, 1, before, dim - first - max(-end, 0))
    if mode == "constant":
        return [inner]
    if mode == "edge":
        sides: list[Segment] = [(0, 0, 0, begin), (dim - 1, 0, before + dim, end)]
    elif mode == "reflect" and begin < dim and end < dim:
        sides = [(begin, -1, 0, begin), (dim - 2, -1, before + dim, end)]
    elif mode == "wrap" and begin <= dim and end <= dim:
        sides = [(dim - begin, 1, 0, begin), (0, 1, before + dim, end)]
    else:
        raise UnsupportedError(f"cannot pad {dim} elements by {begin} and {end}, mode '{mode}'")
    if begin < 0 or end < 0:
        raise UnsupportedError(f"cannot pad by {begin} and {end} in mode '{mode}'")
    return [inner, *(side for side in sides if side[3])]


def emit_transpose(step: Step) -> None:
    """Transpose: a copy whose strides are permuted, along either tensor, the longer loop inside."""
    x, y = step.input(0), step.output()
    shape = step.shape(x)
    perm = step.operation.ints_attribute("perm", tuple(reversed(range(len(shape)))))
    strides, to = contiguous(shape), contiguous(step.shape(y))
    permuted = [to[perm.index(axis)] for axis in range(len(shape))]
    walks = [
        merged([shape[axis] for axis in perm], [strides[axis] for axis in perm], to),
        merged(shape, strides, permuted),
    ]
    walk = initializer(max(walks, key=lambda loops: loops[-1][0]))
    _strided(step, x.dtype, walk, step.pointer(x.name), step.pointer(y.name))


def emit_gather(step: Step) -> None:
    """Gather with constant indices, or with those that the caller gives."""
    x, y = step.input(0), step.output()
    shape = step.shape(x)
    axis = step.operation.int_attribute("axis") % len(shape)
    if not step.unit.graph.is_parameter(step.operation.inputs[1]):
        indices = step.input(1)
        count = math.prod(step.shape(indices))
        sizes = [math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]), count]
        parameters = step.parameters("q_lookup", [str(size) for size in sizes])
        function = step.kernel("q_gather_given", "q_gather.h", X=x.dtype, I=indices.dtype)
        step.call(
            function, parameters, step.pointer(x.name), step.pointer(indices.name),
            step.pointer(y.name),
        )  # fmt: skip
        return
    index = step.array(1).astype(np.int64).reshape(-1)
    index = np.where(index < 0, index + shape[axis], index)
    sizes = [math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]), index.size]
    parameters = step.parameters("q_gather", [str(size) for size in sizes])
    function = step.kernel("q_gather", "q_move.h", X=x.dtype)
    table = step.constant("index", index, DType.INT32)
    step.call(function, parameters, step.pointer(x.name), table, step.pointer(y.name))


def emit_reshape(step: Step) -> None:
    """Reshape: nothing, or a copy where both sides have a place of their own."""
    x, y = step.input(0), step.output()
    to = step.pointer(y.name)
    if step.pointer(x.name) != to:
        count = math.prod(step.shape(y))
        step.lines.append(f"memcpy({to}, {step.pointer(x.name)}, {count} * sizeof(*{to}));")


def _ints(step: Step, slot: int) -> list[int]:
    return [int(v) for v in step.array(slot).reshape(-1)]
