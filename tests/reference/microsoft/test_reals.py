"""Operations of com.microsoft on real numbers against ONNX Runtime, attention left out."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Array = npt.NDArray[Any]
Check = Callable[..., None]


def _normal(rng: Any, *shape: int) -> Array:
    return np.asarray(rng.normal(size=shape), np.float32)


def test_activations(check: Check, rng: Any) -> None:
    for shape in ((2, 3, 8), (4,), (0, 4)):
        x, bias = _normal(rng, *shape) * 3, _normal(rng, shape[-1])
        check("Gelu", [x])
        check("BiasGelu", [x, bias])
        check("FastGelu", [x])
        check("FastGelu", [x, bias])
        check("QuickGelu", [x])
        check("QuickGelu", [x], alpha=1.2)


@pytest.mark.parametrize(("kind", "parameters"), [
    ("Relu", []), ("Tanh", []), ("Sigmoid", []), ("LeakyRelu", [0.3]), ("Clip", [-0.5, 0.7]),
    ("HardSigmoid", [0.3, 0.4]),
])  # fmt: skip
def test_convolutions_that_end_in_a_function(
    check: Check, rng: Any, kind: str, parameters: list[float]
) -> None:
    x, w, b = _normal(rng, 2, 4, 7, 6), _normal(rng, 6, 2, 3, 3) * 0.3, _normal(rng, 6)
    given = {"activation": kind, "activation_params": parameters, "group": 2}
    if not parameters:
        del given["activation_params"]
    check("FusedConv", [x, w, b], pads=[1, 0, 1, 0], **given)
    check("FusedConv", [x, w], strides=[2, 1], auto_pad="SAME_LOWER", **given)
    check("FusedConv", [x, w, b, _normal(rng, 2, 6, 5, 4)], **given)
    check("FusedConv", [x, w, None, _normal(rng, 2, 6, 5, 4)], group=2)


@pytest.mark.parametrize(("kind", "parameters"), [
    ("Relu", {}), ("Tanh", {}), ("Sigmoid", {}), ("LeakyRelu", {"activation_alpha": 0.3}),
    ("Elu", {"activation_alpha": 0.7}), ("Softplus", {}), ("Softsign", {}),
    ("HardSigmoid", {"activation_alpha": 0.3, "activation_beta": 0.4}),
    ("ThresholdedRelu", {"activation_alpha": 0.7}),
])  # fmt: skip
def test_products_that_end_in_a_function(
    check: Check, rng: Any, kind: str, parameters: dict[str, float]
) -> None:
    a, b, c = _normal(rng, 4, 6), _normal(rng, 6, 3), _normal(rng, 3)
    check("FusedGemm", [a, b, c], activation=kind, alpha=0.5, beta=2.0, **parameters)
    check("FusedGemm", [a, b.T.copy()], activation=kind, transB=1, **parameters)


def test_products_of_turned_operands(check: Check, rng: Any) -> None:
    for kind, (left, right) in itertools.product(
        ("FusedMatMul", "TransposeMatMul"), itertools.product((0, 1), (0, 1))
    ):
        a, b = _normal(rng, 2, 3, 4, 6), _normal(rng, 3, 6, 5)
        a = np.ascontiguousarray(a.swapaxes(-1, -2)) if left else a
        b = np.ascontiguousarray(b.swapaxes(-1, -2)) if right else b
        check(kind, [a, b], transA=left, transB=right, alpha=0.25)
    a, b = _normal(rng, 4, 2, 3, 6), _normal(rng, 6, 2, 3, 5)
    for left, right in itertools.product((0, 1), (0, 1)):
        one = np.ascontiguousarray(np.moveaxis(a, 0, -2).swapaxes(-1, -2) if left else a)
        two = np.ascontiguousarray(np.moveaxis(b, 0, -2).swapaxes(-1, -2) if right else b)
        one = np.ascontiguousarray(np.moveaxis(one, -2, 0)) if left else one
        two = np.ascontiguousarray(np.moveaxis(two, -2, 0)) if right else two
        if left == right == 0:
            check("FusedMatMul", [a, b], transBatchA=1, transBatchB=1)
        else:
            check("FusedMatMul", [one, two], transA=left, transB=right, transBatchA=1,
                  transBatchB=1)  # fmt: skip


def test_distances_and_inverses(check: Check, rng: Any) -> None:
    for metric in ("sqeuclidean", "euclidean"):
        check("CDist", [_normal(rng, 4, 6), _normal(rng, 3, 6)], metric=metric)
    check("Inverse", [_normal(rng, 2, 4, 4) + 4 * np.eye(4, dtype=np.float32)], tolerance=1e-4)


def test_normalizations_of_sums(check: Check, rng: Any) -> None:
    x, gamma, beta, bias = _normal(rng, 2, 5, 8), *(_normal(rng, 8) for _ in range(3))
    there = [True, False, False, True]
    for skip in (_normal(rng, 2, 5, 8), _normal(rng, 1, 5, 8), _normal(rng, 5, 8)):
        for more in ([], [beta], [beta, bias], [None, bias]):
            check("SkipLayerNormalization", [x, skip, gamma, *more], there, epsilon=1e-5)
        for more in ([], [bias]):
            check("SkipSimplifiedLayerNormalization", [x, skip, gamma, *more], there, epsilon=1e-5)
    check("SkipLayerNormalization", [x[:0], x[:0], gamma, beta])


@pytest.mark.parametrize("axis", [-1, 1])
def test_normalizations_by_the_root_mean_square(check: Check, rng: Any, axis: int) -> None:
    x, scale = _normal(rng, 2, 5, 8), _normal(rng, *(2, 5, 8)[axis:])
    check("SimplifiedLayerNormalization", [x, scale], 2, domain="", axis=axis, epsilon=1e-4)


def test_normalizations_of_embeddings(check: Check, rng: Any) -> None:
    words, places, segments = _normal(rng, 20, 8), _normal(rng, 7, 8), _normal(rng, 2, 8)
    gamma, beta = _normal(rng, 8), _normal(rng, 8)
    ids = rng.integers(0, 20, (2, 5)).astype(np.int32)
    kinds = rng.integers(0, 2, (2, 5)).astype(np.int32)
    mask = np.int32([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    order = rng.integers(0, 7, (2, 5)).astype(np.int32)
    for rows in ([kinds, words, places, segments], [None, words, places, None]):
        check("EmbedLayerNormalization", [ids, *rows, gamma, beta], 2)
        check("EmbedLayerNormalization", [ids, *rows, gamma, beta, mask, order], 3, epsilon=1e-6)
        check("EmbedLayerNormalization", [ids, *rows, gamma, beta, mask], 2, mask_index_type=1)


def test_movement(check: Check, rng: Any) -> None:
    x = _normal(rng, 3, 4, 5)
    for axis in (0, 2, -1):
        check("ExpandDims", [x, np.int32(axis)])
    check("GatherND", [x, rng.integers(0, 3, (2, 6, 2))])
    for mode in ("constant", "edge", "reflect"):
        check("Pad", [x, np.array([0, 1, 2, 0, 2, 1]), np.float32(7)], mode=mode)
    check("Pad", [x, np.array([0, -1, 2, 0, 2, -1])])
    for upper in (0, 1):
        check("Trilu", [x, np.array(1)], upper=upper)
    grid = np.asarray(rng.random((2, 6, 7, 2)) * 3 - 1.5, np.float32)
    for mode, padding in itertools.product(("bilinear", "nearest"), ("zeros", "border")):
        check("GridSample", [_normal(rng, 2, 3, 5, 4), grid], mode=mode, padding_mode=padding)
    check("Range", [np.array([2.0], np.float32), np.array([7.0], np.float32)])
    check("Range", [np.array([9]), np.array([2]), np.array([-3])])
    check("Unique", [np.asarray(rng.integers(0, 5, 20), np.float32)], 3)


def test_pools_and_crops(check: Check, rng: Any) -> None:
    x = np.asarray(rng.integers(-128, 128, (2, 6, 8, 4)), np.int8)
    for window in ({}, {"strides": [2, 1], "pads": [1, 0, 1, 1]}, {"dilations": [2, 1]}):
        check("NhwcMaxPool", [x], kernel_shape=[3, 2], **window)
    image = _normal(rng, 2, 3, 7, 9)
    rois = np.asarray(rng.random((4, 4)) * 1.6 - 0.3, np.float32)
    batches = np.int32([0, 1, 1, 0])
    for mode, size in itertools.product(("bilinear", "nearest"), ((3, 4), (1, 1), (6, 2))):
        check("CropAndResize", [image, rois, batches, np.int32(size)], mode=mode,
              extrapolation_value=2.5)  # fmt: skip
