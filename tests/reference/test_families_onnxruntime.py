"""Families of operations against ONNX Runtime, imported, with random inputs and many attributes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, shape_inference

from quantable.frontend import import_model
from quantable.reference import ReferenceRuntime

onnxruntime = pytest.importorskip("onnxruntime")
Array = npt.NDArray[Any]
Check = Callable[..., None]


def _model(
    kind: str, given: Sequence[Array | None], outputs: int, opset: int, attributes: dict[str, Any]
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    slots = ["" if array is None else f"i{index}" for index, array in enumerate(given)]
    feeds = {n: np.asarray(a) for n, a in zip(slots, given, strict=True) if a is not None}
    made = [f"y{index}" for index in range(outputs)]
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in feeds.items()
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, slots, made, **attributes)], "g", inputs,
        [onnx.ValueInfoProto(name=name) for name in made],
    )  # fmt: skip
    imports = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    return shape_inference.infer_shapes(model), feeds


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Compare one operation with ONNX Runtime, output by output."""

    def compare(
        kind: str, given: Sequence[Array | None], outputs: int = 1, *, opset: int = 21,
        tolerance: float = 1e-5, **attributes: Any,
    ) -> None:  # fmt: skip
        model, feeds = _model(kind, given, outputs, opset, attributes)
        expected = onnxruntime.InferenceSession(model.SerializeToString()).run(None, feeds)
        onnx.save(model, tmp_path / "node.onnx")
        runtime = ReferenceRuntime(import_model(tmp_path / "node.onnx"))
        for found, want in zip(runtime.run(feeds).values(), expected, strict=True):
            assert (found.dtype, found.shape) == (want.dtype, want.shape)
            np.testing.assert_allclose(found, want, tolerance, tolerance)

    return compare


def _normal(rng: Any, *shape: int) -> Array:
    return rng.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(
    ("kind", "gates", "states"), [("RNN", 1, 1), ("GRU", 3, 1), ("LSTM", 4, 2)]
)
def test_recurrences(check: Check, rng: Any, kind: str, gates: int, states: int, direction: str
) -> None:  # fmt: skip
    count, hidden = (2 if direction == "bidirectional" else 1), 5
    x, w = _normal(rng, 6, 3, 4), _normal(rng, count, gates * hidden, 4)
    r, b = _normal(rng, count, gates * hidden, hidden), _normal(rng, count, 2 * gates * hidden)
    start = [_normal(rng, count, 3, hidden) for _ in range(states)]
    lengths = np.array([6, 2, 4], np.int32)
    for more in ([], [b], [b, lengths], [b, lengths, *start], [None, None, *start]):
        check(kind, [x, w, r, *more], 1 + states, hidden_size=hidden, direction=direction)
    if kind == "GRU":
        check(kind, [x, w, r, b], 2, hidden_size=hidden, direction=direction,
              linear_before_reset=1, clip=0.5)  # fmt: skip
    if kind == "LSTM":
        peepholes = _normal(rng, count, 3 * hidden)
        check(kind, [x, w, r, b, None, *start, peepholes], 3, hidden_size=hidden,
              direction=direction)  # fmt: skip


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatters(check: Check, rng: Any, reduction: str) -> None:
    x = _normal(rng, 4, 5, 3)
    for axis in (0, 1, -1):
        # Each place once: the order of several updates is not defined.
        order = rng.permuted(
            np.tile(np.arange(x.shape[axis]), 60).reshape(-1, x.shape[axis]), axis=1
        )
        indices = np.moveaxis(order[: x.size // x.shape[axis]].reshape(
            *np.delete(x.shape, axis), x.shape[axis]), -1, axis)  # fmt: skip
        indices = indices - (rng.random(indices.shape) < 0.5) * x.shape[axis]
        check("ScatterElements", [x, indices.astype(np.int64), _normal(rng, *x.shape)],
              axis=axis, reduction=reduction)  # fmt: skip
    places = np.array([[0, 1], [3, -1], [2, 4 - 5]], np.int64)
    check("ScatterND", [x, places, _normal(rng, 3, 3)], reduction=reduction)


def test_gathers_with_batches(check: Check, rng: Any) -> None:
    x = _normal(rng, 2, 3, 4, 5)
    check("GatherND", [x, rng.integers(-4, 4, (2, 3, 6, 1))], batch_dims=2)
    check("GatherND", [x, rng.integers(-3, 3, (2, 6, 2))], batch_dims=1)
    check("GatherElements", [x, rng.integers(-5, 5, (2, 3, 4, 2))], axis=-1)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
def test_grid_samples(check: Check, rng: Any, mode: str, padding: str) -> None:
    grid = (rng.random((2, 6, 7, 2)) * 3 - 1.5).astype(np.float32)
    for aligned in (0, 1):
        check("GridSample", [_normal(rng, 2, 3, 5, 4), grid], mode=mode, padding_mode=padding,
              align_corners=aligned, tolerance=1e-4)  # fmt: skip


@pytest.mark.parametrize("form", ["half_pixel", "asymmetric", "pytorch_half_pixel"])
def test_cubic_and_antialiased_resizes(check: Check, rng: Any, form: str) -> None:
    x = _normal(rng, 1, 2, 9, 8)
    for outside, size in itertools.product((0, 1), ((5, 13), (18, 4))):
        sizes = np.array([1, 2, *size], np.int64)
        check("Resize", [x, None, None, sizes], mode="cubic", exclude_outside=outside,
              coordinate_transformation_mode=form, tolerance=1e-4)  # fmt: skip
    for mode in ("linear", "cubic"):
        check("Resize", [x, None, None, np.array([1, 2, 4, 5], np.int64)], mode=mode, antialias=1,
              coordinate_transformation_mode="half_pixel", tolerance=1e-4)  # fmt: skip
    for policy in ("not_larger", "not_smaller"):
        check("Resize", [x, None, None, np.array([7, 12], np.int64)], mode="linear", axes=[2, 3],
              keep_aspect_ratio_policy=policy, tolerance=1e-4)  # fmt: skip


@pytest.mark.parametrize("attributes", [
    {"strides": (2, 1)}, {"pads": (1, 0, 1, 1), "dilations": (2, 1)},
    {"ceil_mode": 1, "strides": (3, 2)}, {"storage_order": 1, "pads": (1, 1, 1, 1)},
])  # fmt: skip
def test_maxima_with_their_places(check: Check, rng: Any, attributes: Any) -> None:
    x = rng.permutation(2 * 3 * 9 * 8).reshape(2, 3, 9, 8).astype(np.float32)
    check("MaxPool", [x], 2, kernel_shape=(3, 2), **attributes)


def test_pools_of_norms_and_regions(check: Check, rng: Any) -> None:
    x = _normal(rng, 2, 3, 12, 10)
    for order in (1, 2, 3):
        check("LpPool", [np.abs(x)], kernel_shape=(3, 2), strides=(2, 2), p=order, tolerance=1e-4)
        check("GlobalLpPool", [np.abs(x)], p=order, tolerance=1e-4)
    rois = np.array([[0.5, 1, 6, 7.5], [2, 2, 9, 9], [0, 0, 1, 1]], np.float32)
    for ratio, form in itertools.product((0, 2), ("half_pixel", "output_half_pixel")):
        check("RoiAlign", [x, rois, np.array([0, 1, 1])], output_height=3, output_width=4,
              sampling_ratio=ratio, coordinate_transformation_mode=form)  # fmt: skip
    boxes = np.array([[0, 1, 1, 6, 7], [1, 2, 2, 9, 9]], np.float32)
    check("MaxRoiPool", [x, boxes], pooled_shape=(3, 2), spatial_scale=0.7)


def test_non_max_suppression(check: Check, rng: Any) -> None:
    corners = rng.random((2, 30, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + rng.random((2, 30, 2)).astype(np.float32)], -1)
    scores = rng.permutation(2 * 3 * 30).reshape(2, 3, 30).astype(np.float32) / 180
    for centred in (0, 1):
        check("NonMaxSuppression", [boxes, scores, np.array(7), np.array(0.4, np.float32),
              np.array(0.2, np.float32)], center_point_box=centred)  # fmt: skip


def test_orders_and_counts(check: Check, rng: Any) -> None:
    x = rng.integers(0, 6, (4, 7)).astype(np.float32)
    for axis, largest in itertools.product((0, -1), (0, 1)):
        check("TopK", [x, np.array([3])], 2, axis=axis, largest=largest)
    for attributes in ({}, {"sorted": 0}, {"axis": 1}, {"axis": 0, "sorted": 0}):
        check("Unique", [x], 4, **attributes)
    check("NonZero", [x])
    check("OneHot", [x.astype(np.int64) - 3, np.array(6), np.array([0, 1], np.float32)], axis=1)
    for exclusive, reverse in itertools.product((0, 1), (0, 1)):
        check("CumSum", [x, np.array(-1)], exclusive=exclusive, reverse=reverse)
    check("ReverseSequence", [x, np.array([1, 7, 3, 2])], batch_axis=0, time_axis=1)


@pytest.mark.parametrize("equation", [
    "ij,jk->ik", "bij,bjk->bik", "...ij,...jk", "ii->i", "ij->", "ij,ij->j", "bhid,bhjd->bhij",
])  # fmt: skip
def test_einsums(check: Check, rng: Any, equation: str) -> None:
    terms = equation.split("->")[0].split(",")
    given = [_normal(rng, *(3 for _ in term.replace("...", "b"))) for term in terms]
    check("Einsum", given, equation=equation)


def test_integer_products(check: Check, rng: Any) -> None:
    def scale(*shape: int) -> Array:
        return np.asarray(rng.random(shape) * 0.1 + 0.01, np.float32)

    x, w = (
        rng.integers(0, 256, (1, 4, 7, 6)).astype(np.uint8),
        rng.integers(-128, 128, (6, 4, 3, 2)),
    )
    w = w.astype(np.int8)
    zero = np.zeros(6, np.int8)
    operands = [x, scale(), np.uint8(120), w, scale(6), zero, np.float32(6), np.uint8(100)]
    bias = rng.integers(-9999, 9999, 6).astype(np.int32)
    for attributes in ({}, {"pads": (1, 0, 1, 1)}, {"strides": (2, 2), "dilations": (1, 2)}):
        check("QLinearConv", [*operands, bias], tolerance=1, **attributes)
        check("ConvInteger", [x, w.view(np.uint8), np.uint8(120), np.uint8(9)], **attributes)
    a, b = rng.integers(0, 256, (2, 5, 8)).astype(np.uint8), rng.integers(0, 256, (2, 8, 3))
    b = b.astype(np.uint8)
    check("MatMulInteger", [a, b, np.uint8(7), np.uint8(200)])
    check("QLinearMatMul", [a, scale(), np.uint8(7), b, scale(), np.uint8(90), np.float32(9),
                            np.uint8(50)], tolerance=1)  # fmt: skip
    check("DynamicQuantizeLinear", [_normal(rng, 4, 9)], 3)


def test_signals(check: Check, rng: Any) -> None:
    x = _normal(rng, 2, 16, 1)
    for attributes in ({"onesided": 1}, {}, {"inverse": 1}):
        given = x if "inverse" not in attributes else _normal(rng, 2, 16, 2)
        check("DFT", [given, None, np.array(1)], tolerance=1e-4, **attributes)
    frames = [x, np.array(4), _normal(rng, 8), np.array(8)]
    check("STFT", frames, tolerance=1e-4)
    for kind, periodic in itertools.product(
        ("HannWindow", "HammingWindow", "BlackmanWindow"), (0, 1)
    ):
        check(kind, [np.array(10)], periodic=periodic)


def test_shapes_of_no_element(check: Check, rng: Any) -> None:
    empty = np.zeros((0, 4), np.float32)
    check("Concat", [empty, _normal(rng, 2, 4)], axis=0)
    check("Gather", [_normal(rng, 3, 4), np.zeros((0,), np.int64)])
    check("NonZero", [empty])
    check("ReduceSum", [empty, np.array([0])])
    check("ScatterND", [_normal(rng, 3), np.zeros((0, 1), np.int64), np.zeros(0, np.float32)])
    check("Softmax", [empty])
    check("MatMul", [empty, _normal(rng, 4, 2)])
    check("TopK", [_normal(rng, 3, 4), np.array([0])], 2)
