"""Float operations against ONNX Runtime, over attributes that the node cases leave out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper

from quantable.ir import Graph
from quantable.reference import ReferenceRuntime

onnxruntime = pytest.importorskip("onnxruntime")
Array = npt.NDArray[Any]
GraphOfNode = Callable[[onnx.ModelProto, Sequence[Array], bool], Graph]
Check = Callable[..., None]


@pytest.fixture
def check(graph_of_node: GraphOfNode) -> Check:
    """Compare one operation with ONNX Runtime, other inputs than the first given or constant."""

    def compare(
        kind: str, given: Sequence[Array | None], tolerance: float = 1e-5, **attributes: Any
    ) -> None:
        slots = ["" if array is None else f"i{index}" for index, array in enumerate(given)]
        names = [name for name in slots if name]
        inputs = [np.asarray(array) for array in given if array is not None]
        node = helper.make_node(kind, slots, ["y"], **attributes)
        protos = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in zip(names, inputs, strict=True)
        ]
        kind_of = {"QuantizeLinear": 2, "DequantizeLinear": 1}.get(kind, 0)
        output = helper.make_tensor_value_info(
            "y", protos[kind_of].type.tensor_type.elem_type, None
        )
        opsets = [helper.make_opsetid("", 21)]
        model = helper.make_model(
            helper.make_graph([node], "g", protos, [output]), opset_imports=opsets, ir_version=10
        )
        session = onnxruntime.InferenceSession(model.SerializeToString())
        (expected,) = session.run(None, dict(zip(names, inputs, strict=True)))
        for constant in (False, True):
            graph = graph_of_node(model, inputs, constant)
            taken = {n: a for n, a in zip(names, inputs, strict=True) if n in graph.inputs}
            found = ReferenceRuntime(graph).run(taken)["y"]
            assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
            np.testing.assert_allclose(found, expected, tolerance, tolerance)

    return compare


def _normal(rng: Any, *shape: int) -> Array:
    return rng.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("padding", [
    {"pads": (1, 0, 2, 1)}, {"pads": (1, 1, 1, 1)}, {"auto_pad": "SAME_UPPER"},
    {"auto_pad": "SAME_LOWER"}, {"auto_pad": "VALID"},
])  # fmt: skip
def test_convolution(check: Check, rng: Any, group: int, padding: Any) -> None:
    x, b = _normal(rng, 2, 4, 9, 8), _normal(rng, 8)
    for kernel, strides in itertools.product([(3, 2), (1, 1)], [(1, 1), (2, 3)]):
        w = _normal(rng, 8, 4 // group, *kernel)
        check("Conv", [x, w, b], group=group, strides=strides, **padding)
        check("Conv", [x, w], group=group, strides=strides, **padding)
    if "auto_pad" not in padding:
        check("Conv", [x, _normal(rng, 8, 4 // group, 3, 3), b], group=group, dilations=(2, 1),
              **padding)  # fmt: skip


@pytest.mark.parametrize("rank", [1, 3])
def test_convolution_of_other_ranks(check: Check, rng: Any, rank: int) -> None:
    x, w = _normal(rng, 2, 4, *[6] * rank), _normal(rng, 6, 2, *[3] * rank)
    check("Conv", [x, w], group=2, pads=(1,) * rank + (0,) * rank)


@pytest.mark.parametrize("attributes", [
    {}, {"strides": (2, 3)}, {"pads": (1, 0, 0, 1)}, {"dilations": (2, 1)}, {"group": 2},
    {"strides": (2, 2), "output_padding": (1, 0)}, {"strides": (2, 2), "output_shape": (10, 9)},
    {"strides": (2, 2), "auto_pad": "SAME_UPPER"}, {"strides": (2, 2), "auto_pad": "SAME_LOWER"},
])  # fmt: skip
def test_transposed_convolution(check: Check, rng: Any, attributes: Any) -> None:
    x, b = _normal(rng, 2, 4, 5, 4), _normal(rng, 6)
    w = _normal(rng, 4, 6 // attributes.get("group", 1), 3, 3)
    check("ConvTranspose", [x, w, b], **attributes)


def test_convolution_that_reaches_over_a_small_input(check: Check, rng: Any) -> None:
    """Only the padding makes room for the kernel."""
    x, w = _normal(rng, 1, 2, 2, 1), _normal(rng, 4, 1, 3, 2)
    check("Conv", [x, w], group=2, pads=(1, 1, 1, 0))


_WINDOWS = [
    {"kernel_shape": (3, 2), "strides": (2, 2), "pads": (1, 0, 0, 1)},
    {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1), "ceil_mode": 1},
    {"kernel_shape": (2, 2), "strides": (2, 3), "ceil_mode": 1},
    {"kernel_shape": (3, 3), "strides": (2, 2), "auto_pad": "SAME_UPPER"},
    {"kernel_shape": (3, 3), "strides": (2, 2), "auto_pad": "SAME_LOWER"},
    {"kernel_shape": (3, 2), "dilations": (2, 3), "pads": (1, 1, 2, 1)},
]


@pytest.mark.parametrize("window", _WINDOWS)
def test_pools(check: Check, rng: Any, window: Any) -> None:
    for height in (6, 7):
        x = _normal(rng, 2, 3, height, 8)
        check("MaxPool", [x], **window)
        for include in (0, 1):
            check("AveragePool", [x], count_include_pad=include, **window)


def test_pools_of_other_ranks(check: Check, rng: Any) -> None:
    check("MaxPool", [_normal(rng, 2, 3, 9)], kernel_shape=(3,), strides=(2,), pads=(1, 1))
    check("AveragePool", [_normal(rng, 2, 3, 9)], kernel_shape=(3,), pads=(1, 0))
    check("AveragePool", [_normal(rng, 2, 3, 5, 5, 5)], kernel_shape=(2, 3, 2), pads=(0, 1, 1) * 2)
    check("MaxPool", [_normal(rng, 2, 3, 5, 5, 5)], kernel_shape=(2, 3, 2))
    check("MaxPool", [rng.integers(-128, 128, (1, 2, 5, 5)).astype(np.int8)], kernel_shape=(3, 3))


@pytest.mark.parametrize(
    "form", ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
)
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_resize(check: Check, rng: Any, form: str, mode: str) -> None:
    x = _normal(rng, 1, 2, 5, 6)
    for size in ((10, 12), (15, 9), (1, 4)):
        sizes = np.array([1, 2, *size], np.int64)
        check("Resize", [x, None, None, sizes], mode=mode, coordinate_transformation_mode=form)


def test_slices_with_every_bound(check: Check, rng: Any) -> None:
    x = _normal(rng, 4, 5)
    bounds = (-9, -5, -2, 0, 3, 5, 99)
    for start, end, step in itertools.product(bounds, bounds, (-3, -1, 1, 2)):
        rows = [np.array([value], np.int64) for value in (start, end, 1, step)]
        check("Slice", [x, *rows])


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_pads_that_grow_and_shrink(check: Check, rng: Any, mode: str) -> None:
    x = _normal(rng, 2, 4, 5)
    for pads in ((0, 2, 3, 0, 1, 0), (1, 0, 2, 0, 0, 1), (0, -1, 2, 0, 0, -2)):
        if mode == "constant":
            check("Pad", [x, np.array(pads, np.int64), np.float32(1.5)], mode=mode)
        elif min(pads) >= 0 and not (mode == "reflect" and pads[0]):
            check("Pad", [x, np.array(pads, np.int64)], mode=mode)


@pytest.mark.parametrize("kind", [
    "Abs", "Ceil", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu",
    "Mish", "Neg", "Relu", "Round", "Selu", "Sigmoid", "Softplus", "Softsign", "Tanh",
])  # fmt: skip
def test_functions_over_their_range(check: Check, rng: Any, kind: str) -> None:
    x = np.concatenate([np.linspace(-100, 100, 401), rng.normal(size=200)]).astype(np.float32)
    check(kind, [np.clip(x, -60, 60) if kind in ("Exp",) else x], 2e-6)


def test_matrix_products(check: Check, rng: Any) -> None:
    a, b, c = _normal(rng, 4, 6), _normal(rng, 6, 3), _normal(rng, 3)
    check("Gemm", [a, b, c], alpha=0.5, beta=2.0)
    check("Gemm", [a.T.copy(), b.T.copy(), _normal(rng, 4, 1)], transA=1, transB=1)
    check("MatMul", [_normal(rng, 2, 1, 4, 6), _normal(rng, 3, 6, 5)])
    check("MatMul", [_normal(rng, 6), b])


@pytest.mark.parametrize("kind", ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceL2", "ReduceProd"])
def test_reductions(check: Check, rng: Any, kind: str) -> None:
    x = _normal(rng, 3, 4, 5)
    for axes, keep in itertools.product([[0], [-1, 0], [1, 2]], (0, 1)):
        check(kind, [x, np.array(axes, np.int64)], keepdims=keep)
    check(kind, [x], keepdims=0)


def test_quantizers(check: Check, rng: Any) -> None:
    x = (_normal(rng, 3, 4, 5) * 40).round(1)
    for kind in (np.uint8, np.int8, np.uint16, np.int16):
        limits = np.iinfo(kind)
        zeros = rng.integers(limits.min, limits.max, 4, endpoint=True).astype(kind)
        scales = rng.uniform(0.01, 1, 4).astype(np.float32)
        q = rng.integers(limits.min, limits.max, x.shape, endpoint=True).astype(kind)
        check("QuantizeLinear", [x, scales, zeros], 0, axis=1)
        check("QuantizeLinear", [x, scales[0], zeros[0]], 0)
        check("DequantizeLinear", [q, scales, zeros], 1e-7, axis=-2)
