"""Convolutions, pools, and what samples images."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.reference.drawn_operators.drawing import Case, Draw, Strategy

SUMS = 2e-6
BATCHES = (1, 2, 0)


def _window(d: Draw, rank: int) -> tuple[list[int], list[int], dict[str, Any]]:
    """Return the kernel, a spatial size it fits into, and attributes."""
    kernel = [int(d.pick(3, 1, 2)) for _ in range(rank)]
    more: dict[str, Any] = {}
    if d.flag():
        more["strides"] = [int(d.pick(2, 1, 3)) for _ in range(rank)]
    kind = d.pick("NOTSET", "pads", "VALID", "SAME_UPPER", "SAME_LOWER")
    if kind == "pads":
        more["pads"] = [int(d.random.integers(0, k)) for k in kernel * 2]
    elif kind != "NOTSET":
        more["auto_pad"] = kind
    size = [int(d.pick(6, 4, 7, 5, 9)) for _ in range(rank)]
    return kernel, size, more


def _dilated(d: Draw, rank: int, more: dict[str, Any]) -> None:
    if d.flag() and "auto_pad" not in more:
        more["dilations"] = [int(d.pick(1, 2)) for _ in range(rank)]


def _convolution(d: Draw) -> Case:
    rank, group = d.pick(2, 1, 3), d.pick(1, 2, 3)
    kernel, size, more = _window(d, rank)
    _dilated(d, rank, more)
    inner, outer = group * d.pick(1, 2), group * d.pick(1, 2, 3)
    x = d.floats([d.pick(*BATCHES), inner, *size])
    w = d.floats([outer, inner // group, *kernel])
    bias = [d.floats([outer])] * d.flag()
    more["group"] = group
    return Case(d.kind, [x, w, *bias], more, 1, d.opset(), SUMS, frozenset({1, 2}))


def _transposed_convolution(d: Draw) -> Case:
    rank, group = d.pick(2, 1, 3), d.pick(1, 2)
    kernel, size, more = _window(d, rank)
    more.pop("auto_pad", None)
    _dilated(d, rank, more)
    if "strides" in more and d.flag():
        more["output_padding"] = [int(d.random.integers(0, s)) for s in more["strides"]]
    inner, outer = group * d.pick(1, 2), d.pick(1, 2, 3)
    x = d.floats([d.pick(*BATCHES[:2]), inner, *size])
    w = d.floats([inner, outer, *kernel])
    bias = [d.floats([outer * group])] * d.flag()
    more["group"] = group
    return Case(d.kind, [x, w, *bias], more, 1, d.opset(), SUMS, frozenset({1, 2}))


def _average_pool(d: Draw) -> Case:
    opset, rank = d.opset(7), d.pick(2, 1, 3)
    kernel, size, more = _window(d, rank)
    more |= {"kernel_shape": kernel, "count_include_pad": d.flag()}
    if any(s > k for s, k in zip(more.get("strides", ()), kernel, strict=False)):
        more.pop("auto_pad", None)  # ONNX Runtime computes a negative padding, and refuses it
    if opset >= 19:
        _dilated(d, rank, more)
    if opset >= 10 and "auto_pad" not in more:
        more["ceil_mode"] = d.flag()
    x = d.floats([d.pick(*BATCHES), d.pick(2, 1), *size])
    return Case(d.kind, [x], more, 1, opset, SUMS)


def _max_pool(d: Draw) -> Case:
    opset, rank = d.opset(8), d.pick(2, 1, 3)
    kernel, size, more = _window(d, rank)
    more["kernel_shape"] = kernel
    if opset >= 10:
        _dilated(d, rank, more)
        if "auto_pad" not in more:
            more["ceil_mode"] = d.flag()
    shape = [d.pick(*BATCHES[:2]), d.pick(2, 1), *size]
    x = d.random.permutation(int(np.prod(shape))).reshape(shape).astype(np.float32)
    outputs = d.pick(1, 2)
    if outputs == 2:
        more["storage_order"] = d.flag()
    return Case(d.kind, [x / 16], more, outputs, opset)


def _global_pool(tolerance: float) -> Strategy:
    def draw(d: Draw) -> Case:
        shape = [d.pick(*BATCHES), d.pick(2, 1, 3), *d.shape(1, 3, (4, 1, 2, 7))]
        return Case(d.kind, [d.floats(shape)], {}, 1, d.opset(), tolerance)

    return draw


def _resize(d: Draw) -> Case:
    opset = d.opset(11)
    shape = [d.pick(1, 2), d.pick(2, 1), *(int(d.pick(4, 5, 3, 1)) for _ in range(2))]
    mode = d.pick("nearest", "linear", "cubic")
    forms = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
    more: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": d.pick(*forms)}
    if mode == "nearest":
        more["nearest_mode"] = d.pick("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    target = [shape[0], shape[1], int(d.pick(8, 2, 5)), int(d.pick(10, 3, 4))]
    none = None if opset >= 13 else np.zeros(0, np.float32)
    if d.flag():
        scales = np.array([1, 1, d.pick(2, 0.5, 1.5), d.pick(2, 0.75)], np.float32)
        fixed = frozenset({1, 2} if opset < 13 else ())
        return Case(d.kind, [d.floats(shape), none, scales], more, 1, opset, 1e-5, fixed)
    given = [d.floats(shape), none, none, np.array(target)]
    # An operand that is empty because it is absent cannot be a computed one.
    fixed = frozenset({1, 2, 3} if opset < 13 else ())
    return Case(d.kind, given, more, 1, opset, 1e-5, fixed)


def _grid_sample(d: Draw) -> Case:
    opset = d.opset(16)
    shape = [d.pick(1, 2), d.pick(2, 1), int(d.pick(4, 5, 2)), int(d.pick(5, 3))]
    grid = d.random.uniform(-1.3, 1.3, (shape[0], 4, 3, 2)).astype(np.float32)
    linear = "linear" if opset >= 20 else "bilinear"
    more = {"mode": d.pick(linear, "nearest"), "align_corners": d.flag(),
            "padding_mode": d.pick("zeros", "border", "reflection")}  # fmt: skip
    return Case(d.kind, [d.floats(shape), grid], more, 1, opset, 1e-5)


def _roi_align(d: Draw) -> Case:
    opset = d.opset(10, 21)  # ONNX Runtime has no kernel of 22
    shape = [d.pick(1, 2), d.pick(2, 1), int(d.pick(8, 5)), int(d.pick(9, 6))]
    count = d.pick(3, 1, 0)
    corner = d.random.uniform(0, 4, (count, 2))
    rois = np.concatenate([corner, corner + d.random.uniform(0.5, 4, (count, 2))], 1)
    batches = d.integers([count], 0, shape[0])
    more = {"output_height": d.pick(2, 1, 3), "output_width": d.pick(3, 1),
            "sampling_ratio": d.pick(2, 0, 1), "spatial_scale": d.pick(1.0, 0.5),
            "mode": "avg"}  # fmt: skip
    if opset >= 16:
        more["coordinate_transformation_mode"] = d.pick("half_pixel", "output_half_pixel")
    return Case(d.kind, [d.floats(shape), rois.astype(np.float32), batches], more, 1, opset, 1e-5)


STRATEGIES: dict[str, Strategy] = {
    "Conv": _convolution, "ConvTranspose": _transposed_convolution, "AveragePool": _average_pool,
    "MaxPool": _max_pool, "GlobalAveragePool": _global_pool(SUMS),
    "GlobalMaxPool": _global_pool(0), "Resize": _resize, "GridSample": _grid_sample,
    "RoiAlign": _roi_align,
}  # fmt: skip
