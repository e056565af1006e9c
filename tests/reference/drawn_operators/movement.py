"""Operations that move elements, and those that make shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.reference.drawn_operators.drawing import Case, Draw, Strategy

TYPES = (np.float32, np.int64, np.float64, np.int8, np.bool_)


def _any(d: Draw, shape: list[int], *types: Any) -> Any:
    return d.numbers(shape, d.pick(*(types or TYPES)))


def _concat(d: Draw) -> Case:
    shape, dtype = d.shape(1, 4), d.pick(np.float32, np.int64, np.bool_)
    axis, parts = d.axis(len(shape)), []
    for _ in range(d.pick(2, 1, 3)):
        own = list(shape)
        own[axis] = d.pick(2, 0, 1, 3)
        parts.append(d.numbers(own, dtype))
    return Case(d.kind, parts, {"axis": axis}, 1, d.opset(11))


def _split(d: Draw) -> Case:
    opset, shape = d.opset(), d.shape(1, 4)
    axis, count = d.axis(len(shape)), d.pick(2, 1, 3)
    sizes = [int(d.pick(1, 2, 0)) for _ in range(count)]
    shape[axis] = sum(sizes)
    x = d.floats(shape)
    if opset < 11:
        axis %= len(shape)
    if opset < 13:
        return Case(d.kind, [x], {"axis": axis, "split": sizes}, count, opset)
    if opset >= 18 and d.flag():
        shape[axis] = d.pick(4, 5, 6, 7)
        more = {"axis": axis, "num_outputs": count}
        return Case(d.kind, [d.floats(shape)], more, count, opset)
    return Case(d.kind, [x, np.array(sizes)], {"axis": axis}, count, opset)


def _reshape(d: Draw) -> Case:
    opset, shape = d.opset(), d.shape(0, 4)
    x, order = _any(d, shape), list(shape)
    d.random.shuffle(order)
    choice = d.pick("order", "rest", "copy", "flat")
    zero = {"allowzero": 1} if opset >= 14 and 0 in order else {}
    if choice == "rest" and order and 0 not in order:
        order[d.pick(*range(len(order)))] = -1
    elif choice == "copy" and 0 not in shape and shape:
        order = [0, *shape[1:]]
    elif choice == "flat" and 0 not in shape:
        order = [-1]
    if 0 in order and not zero and choice != "copy":
        order, zero = [-1], {}
        x = _any(d, [2, 3])
    return Case(d.kind, [x, np.array(order, np.int64)], zero, 1, opset)


def _flatten(d: Draw) -> Case:
    opset, shape = d.opset(9), d.shape(1, 4)
    rank = len(shape)
    axis = d.pick(*range(0 if opset < 11 else -rank, rank + 1))
    return Case(d.kind, [_any(d, shape)], {"axis": axis}, 1, opset)


def _squeeze(d: Draw) -> Case:
    opset, shape = d.opset(), d.shape(1, 4, (1, 2, 1, 3, 0))
    ones = [axis for axis, size in enumerate(shape) if size == 1]
    axes = [axis - (len(shape) if opset >= 11 and d.flag() else 0) for axis in ones if d.flag()]
    x = _any(d, shape)
    if not axes:
        return Case(d.kind, [x], {}, 1, opset)
    if opset < 13:
        return Case(d.kind, [x], {"axes": axes}, 1, opset)
    return Case(d.kind, [x, np.array(axes)], {}, 1, opset)


def _unsqueeze(d: Draw) -> Case:
    opset, shape = d.opset(), d.shape(0, 3)
    rank = len(shape) + d.pick(1, 2)
    places = sorted(d.random.permutation(rank)[: rank - len(shape)].tolist())
    axes = [axis - (rank if opset >= 11 and d.flag() else 0) for axis in places]
    x = _any(d, shape)
    if opset < 13:
        return Case(d.kind, [x], {"axes": axes}, 1, opset)
    return Case(d.kind, [x, np.array(axes)], {}, 1, opset)


def _transpose(d: Draw) -> Case:
    shape = d.shape(0, 4)
    order = d.random.permutation(len(shape)).tolist()
    return Case(
        d.kind, [_any(d, shape)], {"perm": order} if order and d.flag() else {}, 1, d.opset()
    )


def _expand(d: Draw) -> Case:
    shape = d.shape(0, 3)
    want = [d.pick(*{size, 1}) if size == 1 or d.flag() else size for size in shape]
    x_shape = [1 if d.flag() else size for size in want]
    ahead = [d.pick(1, 2, 3)] * d.flag()
    return Case(d.kind, [_any(d, x_shape), np.array([*ahead, *want], np.int64)], {}, 1, d.opset(8))


def _tile(d: Draw) -> Case:
    shape = d.shape(1, 4)
    repeats = [int(d.pick(1, 2, 0, 3)) for _ in shape]
    return Case(d.kind, [_any(d, shape, np.float32, np.int64), np.array(repeats)], {}, 1, d.opset())


def _slice(d: Draw) -> Case:
    opset, shape = d.opset(), d.shape(1, 4)
    x = _any(d, shape, np.float32, np.int64)
    axes = d.axes(len(shape))
    ends = [(int(d.pick(0, 1, -2, -9, 3)), int(d.pick(2, 99, -1, -9, 0))) for _ in axes]
    starts, stops = ([pair[side] for pair in ends] for side in (0, 1))
    if opset < 10:
        axes = [axis % len(shape) for axis in axes]
        return Case(d.kind, [x], {"axes": axes, "starts": starts, "ends": stops}, 1, opset)
    dtype = d.pick(np.int64, np.int32)
    rows = [np.array(row, dtype) for row in (starts, stops, axes)]
    if d.flag():
        rows.append(np.array([int(d.pick(1, -1, 2, -3)) for _ in axes], dtype))
    return Case(d.kind, [x, *rows], {}, 1, opset)


def _pad(d: Draw) -> Case:
    opset, shape = d.opset(), d.shape(1, 4, (2, 3, 4, 5))
    mode = d.pick("constant", "edge", "reflect")
    x = d.floats(shape)
    low = -1 if mode == "constant" else 0
    pads = [int(d.pick(0, 1, low)) for _ in range(2 * len(shape))]
    value = float(d.pick(0, 1.5, -2))
    if opset < 11:
        return Case(d.kind, [x], {"pads": pads, "mode": mode, "value": value}, 1, opset)
    more = [np.float32(value)] if mode == "constant" and d.flag() else []
    if opset >= 18 and d.flag():
        axes = d.axes(len(shape))
        pads = pads[: 2 * len(axes)]
        more = [more[0] if more else None, np.array(axes)]
    return Case(d.kind, [x, np.array(pads), *more], {"mode": mode}, 1, opset)


def _depth_to_space(d: Draw) -> Case:
    opset, block = d.opset(11), d.pick(2, 1, 3)
    shape = [d.pick(1, 2, 0), block * block * d.pick(1, 2), d.pick(2, 1, 3), d.pick(3, 1)]
    return Case(d.kind, [d.floats(shape)], {"blocksize": block, "mode": d.pick("DCR", "CRD")}, 1,
                opset)  # fmt: skip


def _space_to_depth(d: Draw) -> Case:
    block = d.pick(2, 1, 3)
    shape = [d.pick(1, 2, 0), d.pick(1, 2), block * d.pick(2, 1, 3), block * d.pick(3, 1)]
    return Case(d.kind, [d.floats(shape)], {"blocksize": block}, 1, d.opset())


def _reverse_sequence(d: Draw) -> Case:
    shape, first = d.shape(2, 4, (2, 3, 4, 1)), d.flag()
    lengths = d.integers([shape[first]], 1, shape[1 - first] + 1)
    return Case(d.kind, [d.floats(shape), lengths], {"batch_axis": first, "time_axis": 1 - first},
                1, d.opset(10))  # fmt: skip


def _shape_of(d: Draw) -> Case:
    opset, shape = d.opset(), d.shape(0, 4)
    ends = {n: d.pick(-2, 0, 1, 9, -9) for n in ("start", "end") if opset >= 15 and d.flag()}
    return Case(d.kind, [_any(d, shape)], ends, 1, opset)


def _constant_of_shape(d: Draw) -> Case:
    from onnx import numpy_helper

    value = d.pick(None, np.array([2.5], np.float32), np.array([-3], np.int64))
    more = {} if value is None else {"value": numpy_helper.from_array(value)}
    return Case(d.kind, [np.array(d.shape(0, 4), np.int64)], more, 1, d.opset(9))


def _range(d: Draw) -> Case:
    dtype = d.pick(np.int64, np.int32, np.float32)
    start, limit, delta = d.pick((0, 5, 1), (3, -4, -2), (2, 2, 1), (5, 1, 1), (-1, 9, 3))
    ends = [np.asarray(value, dtype) for value in (start, limit, delta)]
    return Case(d.kind, ends, {}, 1, d.opset(11))


STRATEGIES: dict[str, Strategy] = {
    "Concat": _concat, "Split": _split, "Reshape": _reshape, "Flatten": _flatten,
    "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Transpose": _transpose, "Expand": _expand,
    "Tile": _tile, "Slice": _slice, "Pad": _pad, "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth, "ReverseSequence": _reverse_sequence, "Shape": _shape_of,
    "ConstantOfShape": _constant_of_shape, "Range": _range,
}  # fmt: skip
