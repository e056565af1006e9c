"""Operations with indices: what gathers, scatters, sorts and selects."""

from __future__ import annotations

import numpy as np

from tests.reference.drawn_operators.drawing import Array, Case, Draw, Strategy

FULL = (2, 1, 3, 4, 5)
"""Sizes that an index can point into."""


def _indices(d: Draw, shape: list[int], length: int) -> Array:
    dtype = d.pick(np.int64, np.int32)
    return d.integers(shape, -length, length, dtype)


def _gather(d: Draw) -> Case:
    opset, shape = d.opset(11), d.shape(1, 4, FULL)
    axis = d.axis(len(shape))
    others = [d.pick(*FULL, 0) if k != axis % len(shape) else s for k, s in enumerate(shape)]
    indices = _indices(d, d.shape(0, 2), shape[axis])
    return Case(d.kind, [d.floats(others), indices], {"axis": axis}, 1, opset)


def _gather_elements(d: Draw) -> Case:
    shape = d.shape(1, 4, FULL)
    axis = d.axis(len(shape))
    wanted = [d.pick(*range(1, size + 1)) for size in shape]
    wanted[axis] = d.pick(2, 0, 1, 6)
    indices = _indices(d, wanted, shape[axis])
    return Case(d.kind, [d.floats(shape), indices], {"axis": axis}, 1, d.opset(11))


def _places(d: Draw, shape: list[int], count: list[int], depth: int) -> Array:
    """Return coordinates [*count, depth] into the first axes of a shape."""
    columns = [d.integers(count, -size, size) for size in shape[:depth]]
    return np.stack(columns, -1) if columns else np.zeros((*count, 0), np.int64)


def _gather_nd(d: Draw) -> Case:
    opset, shape = d.opset(11), d.shape(2, 4, FULL)
    batch = d.pick(0, 1) if opset >= 12 else 0
    rest = shape[batch:]
    depth = d.pick(*range(1, len(rest) + 1))
    indices = _places(d, rest, [*shape[:batch], d.pick(2, 0, 3)], depth)
    more = {"batch_dims": batch} if opset >= 12 else {}
    return Case(d.kind, [d.floats(shape), indices], more, 1, opset)


def _reduction(d: Draw, opset: int) -> dict[str, str]:
    known = ("none", "add", "mul", "max", "min")[: 5 if opset >= 18 else 3 if opset >= 16 else 1]
    chosen = d.pick(*known)
    return {} if chosen == "none" else {"reduction": chosen}


def _scatter_elements(d: Draw) -> Case:
    opset, shape = d.opset(11), d.shape(1, 3, FULL)
    axis = d.axis(len(shape))
    wanted = [d.pick(*range(1, size + 1)) for size in shape]
    wanted[axis] = d.pick(*range(shape[axis] + 1))
    # Each place once: what several updates make depends on their order.
    order = d.random.random((*wanted[: axis % len(shape)], shape[axis],
                             *wanted[axis % len(shape) + 1 :])).argsort(axis)  # fmt: skip
    indices = np.take(order, range(wanted[axis]), axis)
    indices = indices - shape[axis] * (d.random.random(indices.shape) < 0.5)
    return Case(d.kind, [d.floats(shape), indices, d.floats(wanted)],
                {"axis": axis, **_reduction(d, opset)}, 1, opset, 1e-6)  # fmt: skip


def _scatter_nd(d: Draw) -> Case:
    opset, shape = d.opset(11), d.shape(1, 3, FULL)
    depth = d.pick(*range(1, len(shape) + 1))
    total = int(np.prod(shape[:depth]))
    flat = d.random.permutation(total)[: d.pick(*range(min(total, 4) + 1))]
    indices = np.stack(np.unravel_index(flat, shape[:depth]), -1).astype(np.int64)
    updates = d.floats([len(flat), *shape[depth:]])
    return Case(d.kind, [d.floats(shape), indices, updates], _reduction(d, opset), 1, opset, 1e-6)


def _top_k(d: Draw) -> Case:
    opset, shape = d.opset(10), d.shape(1, 4, FULL)
    axis = d.axis(len(shape))
    count = np.array([d.pick(*range(shape[axis] + 1))])
    # Ranks, so that no two are equal: any of them may be the first.
    x = d.random.permutation(int(np.prod(shape))).reshape(shape).astype(np.float32) / 8
    more = {"axis": axis}
    if opset >= 11:
        more |= {"largest": d.flag(), "sorted": 1}
    return Case(d.kind, [x, count], more, 2, opset)


def _arg_max(d: Draw) -> Case:
    opset, shape = d.opset(11), d.shape(1, 4, FULL)
    more = {"axis": d.axis(len(shape)), "keepdims": d.flag()}
    if opset >= 12:
        more["select_last_index"] = d.flag()
    x = d.integers(shape, 0, 4, d.pick(np.int32, np.int8)).astype(np.float32)
    return Case(d.kind, [x], more, 1, opset)


def _one_hot(d: Draw) -> Case:
    shape, depth = d.shape(1, 3), d.pick(4, 1, 7)
    indices = d.integers(shape, -depth - 2, depth + 2)
    values = d.pick(np.array([0, 1], np.float32), np.array([7, -2], np.int64))
    return Case(d.kind, [indices, np.array(depth), values], {"axis": d.axis(len(shape) + 1)}, 1,
                d.opset(9))  # fmt: skip


def _non_zero(d: Draw) -> Case:
    # Of a scalar, the standard says [0, N], ONNX Runtime makes [1, N].
    x = d.numbers(d.shape(1, 4), d.pick(np.float32, np.int64, np.bool_))
    return Case(d.kind, [np.where(d.random.random(x.shape) < 0.5, x, 0).astype(x.dtype)], {}, 1,
                d.opset(9))  # fmt: skip


def _non_max_suppression(d: Draw) -> Case:
    batch, classes, count = d.pick(1, 2), d.pick(1, 2, 3), d.pick(6, 1, 12, 0)
    corner, size = d.random.random((2, batch, count, 2)).astype(np.float32)
    boxes = np.concatenate([corner, corner + size + np.float32(0.01)], -1)
    order = d.random.permutation(batch * classes * count)
    scores = (order.reshape(batch, classes, count) / max(order.size, 1)).astype(np.float32)
    limits = [np.array(d.pick(3, 1, 0, 20)), np.float32(d.pick(0.5, 0.1, 0.9)),
              np.float32(d.pick(0.0, 0.4))]  # fmt: skip
    return Case(d.kind, [boxes, scores, *limits[: d.pick(3, 2, 1)]],
                {"center_point_box": d.flag()}, 1, d.opset(10))  # fmt: skip


STRATEGIES: dict[str, Strategy] = {
    "Gather": _gather, "GatherElements": _gather_elements, "GatherND": _gather_nd,
    "ScatterElements": _scatter_elements, "ScatterND": _scatter_nd, "TopK": _top_k,
    "ArgMax": _arg_max, "OneHot": _one_hot, "NonZero": _non_zero,
    "NonMaxSuppression": _non_max_suppression,
}  # fmt: skip
