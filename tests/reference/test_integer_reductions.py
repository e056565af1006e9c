"""Integer pools, means, softmax and layer normalization against Python integers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from quantable.ir import Attribute, DType, Graph, Level, Operation
from quantable.reference import ReferenceRuntime

Array = npt.NDArray[Any]
Run = Callable[..., Array]
_U8 = {"y_zero_point": 3, "clamp_min": 1, "clamp_max": 250}
_POOLS = [
    # size, kernel, strides, pads, dilations
    ((7, 6), (3, 2), (2, 1), (1, 0, 1, 1), (1, 1)),
    ((6, 6), (3, 3), (2, 2), (0, 0, 1, 1), (1, 1)),
    ((8, 7), (2, 3), (1, 2), (1, 2, 0, 2), (2, 1)),
    ((9,), (4,), (3,), (2, 1), (1,)),
]


@pytest.fixture
def run(graph_of: Callable[..., Graph]) -> Run:
    def execute(
        kind: str,
        x: Array,
        attributes: Mapping[str, Attribute],
        parameters: Mapping[str, Array] | None = None,
        to: DType = DType.UINT8,
    ) -> Array:
        op = Operation("op", kind, ("x", *(parameters or {})), ("y",), attributes)
        shapes = {"x": (DType.of(x.dtype), ("N", *x.shape[1:]))}
        graph = graph_of(Level.PLANNED, [op], shapes, parameters or {}, {"y": to})
        return ReferenceRuntime(graph).run({"x": x})["y"]

    return execute


def _requantized(acc: int, multiplier: np.float32) -> int:
    product = np.float32(np.float32(acc) * multiplier)
    low, high = _U8["clamp_min"] - 3, _U8["clamp_max"] - 3
    return int(np.rint(np.clip(product, np.float32(low), np.float32(high)))) + 3


def _windows(size: Any, kernel: Any, strides: Any, pads: Any, dilations: Any) -> Any:
    """Yield (output place, list of input places, which may lie outside)."""
    rank = len(size)
    out = [
        (size[i] + pads[i] + pads[i + rank] - ((kernel[i] - 1) * dilations[i] + 1)) // strides[i]
        + 1
        for i in range(rank)
    ]
    for place in itertools.product(*map(range, out)):
        axes = [
            [place[i] * strides[i] - pads[i] + k * dilations[i] for k in range(kernel[i])]
            for i in range(rank)
        ]
        yield tuple(out), place, list(itertools.product(*axes))


def _inside(place: tuple[int, ...], size: tuple[int, ...]) -> bool:
    return all(0 <= p < n for p, n in zip(place, size, strict=True))


def _attributes(shape: Any, layout: str) -> dict[str, Attribute]:
    _, kernel, strides, pads, dilations = shape
    return {"kernel_shape": kernel, "strides": strides, "pads": pads, "dilations": dilations,
            "layout": layout}  # fmt: skip


@pytest.mark.parametrize("shape", _POOLS)
@pytest.mark.parametrize("kind", [np.uint8, np.int16])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_max_pool(run: Run, rng: Any, shape: Any, kind: Any, layout: str) -> None:
    size = shape[0]
    x = rng.integers(np.iinfo(kind).min, 0, (2, 3, *size), endpoint=True).astype(kind)
    given = np.moveaxis(x, 1, -1) if layout == "NHWC" else x
    found = run("int.MaxPool", given, _attributes(shape, layout), to=DType.of(kind))
    found = np.moveaxis(found, -1, 1) if layout == "NHWC" else found
    for out, place, seen in _windows(*shape):
        assert found.shape[2:] == out
        best = np.max([x[(slice(None), slice(None), *p)] for p in seen if _inside(p, size)], axis=0)
        np.testing.assert_array_equal(found[(slice(None), slice(None), *place)], best)


@pytest.mark.parametrize("shape", _POOLS)
@pytest.mark.parametrize("include_pad", [0, 1])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_average_pool(run: Run, rng: Any, shape: Any, include_pad: int, layout: str) -> None:
    size, kernel, _, pads, _ = shape
    rank, zero = len(size), 200
    x = rng.integers(0, 256, (2, 3, *size)).astype(np.uint8)
    m = (np.float32(1.7) / np.arange(1, math.prod(kernel) + 1)).astype(np.float32)
    op = {**_attributes(shape, layout), "x_zero_point": zero, "count_include_pad": include_pad}
    given = np.moveaxis(x, 1, -1) if layout == "NHWC" else x
    found = run("int.AveragePool", given, {**op, **_U8}, {"m": m})
    found = np.moveaxis(found, -1, 1) if layout == "NHWC" else found
    for out, place, seen in _windows(*shape):
        assert found.shape[2:] == out
        counted = [
            p for p in seen
            if _inside(p, size) or (include_pad and all(
                -pads[i] <= p[i] < size[i] + pads[i + rank] for i in range(rank)))
        ]  # fmt: skip
        for n, c in itertools.product(range(2), range(3)):
            acc = sum(int(x[(n, c, *p)]) - zero for p in seen if _inside(p, size))
            expected = _requantized(acc, m[len(counted) - 1])
            assert found[(n, c, *place)] == expected


@pytest.mark.parametrize("keep", [0, 1])
def test_reduce_mean(run: Run, rng: Any, keep: int) -> None:
    x = rng.integers(0, 256, (2, 3, 5, 4)).astype(np.uint8)
    multiplier = np.float32(0.9 / 20)
    op = {"x_zero_point": 255, "multiplier": float(multiplier), "axes": (2, 3), "keepdims": keep}
    found = run("int.ReduceMean", x, {**op, **_U8})
    assert found.shape == ((2, 3, 1, 1) if keep else (2, 3))
    for n, c in itertools.product(range(2), range(3)):
        acc = sum(int(v) - 255 for v in x[n, c].flat)
        assert found.reshape(2, 3)[n, c] == _requantized(acc, multiplier)


@pytest.mark.parametrize("kind", [np.uint8, np.int16])
@pytest.mark.parametrize(("bits", "zero", "to"), [(8, 0, DType.UINT8), (16, 0, DType.UINT16),
                                                  (8, -128, DType.INT8)])  # fmt: skip
def test_softmax(run: Run, rng: Any, kind: Any, bits: int, zero: int, to: DType) -> None:
    scale = 0.03 if kind is np.uint8 else 0.0004
    limits = np.iinfo(kind)
    x = rng.integers(limits.min, limits.max, (6, 10), endpoint=True).astype(kind)
    x[0], x[1, 1:], x[1, 0] = limits.min, limits.min, limits.max
    high = [
        round(2**30 * math.exp(-scale * 256 * i)) for i in range(256 if kind is np.int16 else 1)
    ]
    low = [round(2**30 * math.exp(-scale * i)) for i in range(256)]
    parameters = {"high": np.array(high, np.uint32), "low": np.array(low, np.uint32)}
    found = run("int.Softmax", x, {"y_zero_point": zero, "fraction_bits": bits}, parameters, to)
    for row, result in zip(x.tolist(), found.tolist(), strict=True):
        below = [max(row) - v for v in row]
        e = [(high[d >> 8] * low[d & 255] + 2**29) >> 30 for d in below]
        y = [min((v * 2**bits + sum(e) // 2) // sum(e), 2**bits - 1) + zero for v in e]
        assert result == y


@pytest.mark.parametrize("kind", [np.uint8, np.int16])
@pytest.mark.parametrize("length", [7, 192])
def test_layer_normalization(run: Run, rng: Any, kind: Any, length: int) -> None:
    limits = np.iinfo(kind)
    x = rng.integers(limits.min, limits.max, (5, length), endpoint=True).astype(kind)
    x[0] = limits.max  # variance 0
    x[1], x[1, 0] = limits.min, limits.max
    gamma = rng.integers(-32767, 32768, length).astype(np.int32)
    beta = rng.integers(-(2**35), 2**35, length).astype(np.int64)
    multiplier = np.float32(2.0**-24)
    op = {"epsilon": 1234, "multiplier": float(multiplier), **_U8}
    found = run("int.LayerNormalization", x, op, {"g": gamma, "b": beta})
    for row, result in zip(x.tolist(), found.tolist(), strict=True):
        s1, s2 = sum(row), sum(v * v for v in row)
        r = 16384.0 / math.sqrt(float(length * s2 - s1 * s1 + 1234))
        for i, v in enumerate(row):
            n = round(float(length * v - s1) * r)  # Python rounds half to even
            acc = n * int(gamma[i]) + int(beta[i])
            assert result[i] == _requantized(acc, multiplier)
