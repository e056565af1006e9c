"""QLinear operations and integer products of com.microsoft against ONNX Runtime."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Array = npt.NDArray[Any]
Check = Callable[..., None]
TYPES = [np.uint8, np.int8]


def _steps(rng: Any, kind: Any, *shape: int) -> Array:
    limits = np.iinfo(kind)
    return np.asarray(rng.integers(limits.min, limits.max, shape, endpoint=True), kind)


def _weights(rng: Any, *shape: int) -> Array:
    """Return int8 of 7 bits: with 8, the products of ONNX Runtime saturate on AVX2 alone."""
    return np.asarray(rng.integers(-64, 64, shape), np.int8)


def _row(rng: Any, kind: Any, size: float = 0.05) -> list[Array]:
    """Return a scale and a zero point."""
    return [np.float32(rng.uniform(size / 2, size)), _steps(rng, kind)]


@pytest.mark.parametrize("kind", TYPES)
def test_sums_and_products(check: Check, rng: Any, kind: Any) -> None:
    for a, b in (((3, 4), (3, 4)), ((2, 3, 5), (5,)), ((4, 1), (1, 6)), ((0, 3), (3,))):
        operands = [_steps(rng, kind, *a), *_row(rng, kind), _steps(rng, kind, *b),
                    *_row(rng, kind)]  # fmt: skip
        check("QLinearAdd", [*operands, *_row(rng, kind, 0.1)], steps=1)
        check("QLinearMul", [*operands, *_row(rng, kind, 0.3)], steps=1)


@pytest.mark.parametrize("kind", TYPES)
def test_functions_of_single_elements_are_exact(check: Check, rng: Any, kind: Any) -> None:
    x = np.arange(np.iinfo(kind).min, np.iinfo(kind).max + 1).astype(kind).reshape(2, 128)
    for _ in range(4):
        row = _row(rng, kind)
        check("QLinearLeakyRelu", [x, *row, *_row(rng, kind)], alpha=0.2)
        check("QLinearSigmoid", [x, *row, *_row(rng, kind, 0.01)])
        condition = rng.random((2, 1)) < 0.5
        check("QLinearWhere", [condition, x, *row, x[:1], *_row(rng, kind), *_row(rng, kind)])
        parts = [x, *_row(rng, kind), x[:, :5], *row, x[:, :0], *row]
        for axis in (1, -1):
            check("QLinearConcat", [*_row(rng, kind), *parts], axis=axis)


@pytest.mark.parametrize("kind", TYPES)
def test_softmax(check: Check, rng: Any, kind: Any) -> None:
    x, zero = _steps(rng, kind, 3, 4, 5), np.asarray(np.iinfo(kind).min, kind)
    for axis, opset in itertools.product((0, 1, 2, -1), (12, 13)):
        operands = [x, *_row(rng, kind), np.float32(1 / 256), zero]
        check("QLinearSoftmax", operands, steps=1, percent=20, axis=axis, opset=opset)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("last", [0, 1])
def test_windows(check: Check, rng: Any, kind: Any, last: int) -> None:
    x = _steps(rng, kind, 2, 6, 8, 4)
    rows = [*_row(rng, kind), *_row(rng, kind)]
    check("QLinearGlobalAveragePool", [x, *rows], steps=1, channels_last=last)
    for window in ({}, {"strides": [2, 1], "pads": [1, 0, 1, 1]}, {"auto_pad": "SAME_UPPER"}):
        check("QLinearAveragePool", [x, *rows], steps=1, kernel_shape=[3, 2],
              channels_last=last, **window)  # fmt: skip
    check("QLinearAveragePool", [x, *rows], steps=1, kernel_shape=[2, 2], pads=[1, 1, 1, 1],
          count_include_pad=1, channels_last=last)  # fmt: skip


def test_convolution_with_channels_last(check: Check, rng: Any) -> None:
    x = _steps(rng, np.uint8, 2, 7, 6, 4)
    w, scales = _weights(rng, 6, 2, 3, 2), np.asarray(rng.random(6) * 0.1, np.float32)
    bias = np.asarray(rng.integers(-999, 999, 6), np.int32)
    operands = [x, *_row(rng, np.uint8), w, scales, np.zeros(6, np.int8), np.float32(7),
                np.uint8(100), bias]  # fmt: skip
    for window in ({}, {"strides": [2, 1], "pads": [1, 0, 1, 1]}):
        check("QLinearConv", operands, steps=1, channels_last=1, group=2, **window)


@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm(check: Check, rng: Any, transposed: int) -> None:
    a, b = _steps(rng, np.uint8, 4, 8), _weights(rng, 8, 3)
    scales = np.asarray(rng.random(3) * 0.1, np.float32)
    c = np.asarray(rng.integers(-999, 999, 3), np.int32)
    b = np.ascontiguousarray(b.T) if transposed else b
    operands = [a, *_row(rng, np.uint8), b, scales, _steps(rng, np.int8, 3)]
    for alpha in (1.0, 0.5):
        check("QGemm", [*operands, c], transB=transposed, alpha=alpha)
        check("QGemm", [*operands, c, np.float32(2), np.uint8(120)], steps=1, transB=transposed,
              alpha=alpha)  # fmt: skip
        check("QGemm", operands, transB=transposed, alpha=alpha)


def test_products_that_end_in_reals(check: Check, rng: Any) -> None:
    a, b = _steps(rng, np.uint8, 2, 5, 8), _weights(rng, 8, 3)
    bias = np.asarray(rng.normal(size=3), np.float32)
    for scales, zeros in ((np.float32(0.1), None), (np.float32([0.1, 0.2, 0.3]),
                          _steps(rng, np.int8, 3))):  # fmt: skip
        check("MatMulIntegerToFloat", [a, b, np.float32(0.2), scales, np.uint8(7), zeros, bias])
        check("MatMulIntegerToFloat", [a, b, np.float32(0.2), scales])
        x = np.asarray(rng.normal(size=(2, 5, 8)), np.float32)
        check("DynamicQuantizeMatMul", [x, b, scales, zeros, bias])
        check("DynamicQuantizeMatMul", [x, b, scales])
    wide = [rng.integers(-999, 999, shape).astype(np.int16) for shape in ((4, 8), (8, 3))]
    check("MatMulInteger16", wide)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_products_with_packed_weights(check: Check, rng: Any, bits: int) -> None:
    rows, columns = 40, 6
    x = np.asarray(rng.normal(size=(2, 3, rows)), np.float32)
    bias = np.asarray(rng.normal(size=columns), np.float32)
    for block in (16, 32):
        blocks = -(-rows // block)
        b = _steps(rng, np.uint8, columns, blocks, block * bits // 8)
        scales = np.asarray(rng.uniform(0.01, 0.1, (columns, blocks)), np.float32)
        zeros = _steps(rng, np.uint8, columns, -(-blocks * bits // 8))
        for given in ([], [zeros], [zeros, None, bias], [None, None, bias]):
            check("MatMulNBits", [x, b, scales, *given], K=rows, N=columns, bits=bits,
                  block_size=block, tolerance=1e-4)  # fmt: skip


def test_gathers_of_packed_rows(check: Check, rng: Any) -> None:
    packed = _steps(rng, np.uint8, 7, 32)
    scales = np.asarray(rng.uniform(0.01, 0.1, (7, 4)), np.float32)
    indices = np.array([[1, 6], [0, -7]])
    for zeros in ([], [_steps(rng, np.uint8, 7, 2)]):
        check("GatherBlockQuantized", [packed, indices, scales, *zeros], bits=4, block_size=16,
              gather_axis=0, quantize_axis=1)  # fmt: skip


def test_quantizers(check: Check, rng: Any) -> None:
    x = np.asarray((rng.normal(size=(3, 4, 5)) * 40).round(1), np.float32)
    for kind in (np.uint8, np.int8, np.uint16, np.int16):
        scales = np.asarray(rng.uniform(0.01, 1, 4), np.float32)
        check("QuantizeLinear", [x, scales, _steps(rng, kind, 4)], axis=1)
        check("QuantizeLinear", [x, scales[0], _steps(rng, kind)])
        q = _steps(rng, kind, 3, 4, 5)
        check("DequantizeLinear", [q, scales, _steps(rng, kind, 4)], axis=-2, tolerance=1e-7)
    check("QuantizeLinear", [x, np.float32(0.5)])
    q = _steps(rng, np.int32, 3, 4)
    check("DequantizeLinear", [q, np.float32(0.01), np.int32(0)], tolerance=1e-7)
