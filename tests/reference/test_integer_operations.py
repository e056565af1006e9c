"""Integer operations against Python and NumPy integers, at their extremes.

Everything here is computed from `docs/integer-operations.md` with int64 and np.float32 scalars.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from quantable.ir import Attribute, DType, Graph, InvariantError, Level, Operation
from quantable.reference import ReferenceRuntime

Array = npt.NDArray[Any]
Run = Callable[..., Array]
_U8 = {"y_zero_point": 3, "clamp_min": 0, "clamp_max": 255}
_I16 = {"y_zero_point": 0, "clamp_min": -32768, "clamp_max": 32767}


@pytest.fixture
def run(graph_of: Callable[..., Graph]) -> Run:
    def execute(
        kind: str,
        inputs: Mapping[str, Array],
        attributes: Mapping[str, Attribute],
        parameters: Mapping[str, Array] | None = None,
        to: DType = DType.UINT8,
    ) -> Array:
        parameters = parameters or {}
        op = Operation("op", kind, (*inputs, *parameters), ("y",), attributes)
        # A symbolic first dimension, as most networks have it.
        shapes = {n: (DType.of(a.dtype), (f"N{n}", *a.shape[1:])) for n, a in inputs.items()}
        graph = graph_of(Level.INTEGER, [op], shapes, parameters, {"y": to})
        result = ReferenceRuntime(graph).run(inputs)["y"]
        assert result.dtype == to.numpy
        return result

    return execute


def requantize(acc: Array, multiplier: Array | float, out: Mapping[str, int]) -> Array:
    """The contract, in NumPy."""
    product = acc.astype(np.int64).astype(np.float32) * np.float32(multiplier)
    zero = out["y_zero_point"]
    low, high = np.float32(out["clamp_min"] - zero), np.float32(out["clamp_max"] - zero)
    return np.rint(np.clip(product, low, high)).astype(np.int64) + zero


def convolve(x: Array, w: Array, b: Array, op: Mapping[str, Any]) -> Array:
    """Convolution of centred integers with Python loops over windows."""
    rank = w.ndim - 2
    begin, end = op["pads"][:rank], op["pads"][rank:]
    padded = np.pad(x, [(0, 0), (0, 0), *zip(begin, end, strict=True)])
    out = [
        (padded.shape[i + 2] - ((w.shape[i + 2] - 1) * op["dilations"][i] + 1)) // op["strides"][i]
        + 1
        for i in range(rank)
    ]
    acc = np.zeros((x.shape[0], w.shape[0], *out), np.int64)
    per_group = w.shape[0] // op["group"]
    for o, *place in itertools.product(range(w.shape[0]), *map(range, out)):
        first = o // per_group * w.shape[1]
        window = tuple(
            slice(p * s, p * s + (k - 1) * d + 1, d)
            for p, s, k, d in zip(place, op["strides"], w.shape[2:], op["dilations"], strict=True)
        )
        seen = padded[(slice(None), slice(first, first + w.shape[1]), *window)]
        acc[(slice(None), o, *place)] = b[o] + (seen * w[o]).reshape(x.shape[0], -1).sum(1)
    return acc


_CONVOLUTIONS = [
    # channels, output channels, size, kernel, strides, pads, dilations, group
    (3, 4, (7, 6), (3, 2), (1, 2), (1, 0, 1, 1), (1, 1), 1),
    (4, 6, (6, 6), (3, 3), (2, 2), (1, 1, 1, 1), (2, 1), 2),
    (5, 5, (5, 4), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 5),
    (6, 3, (4, 4), (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1),
    (2, 3, (9,), (3,), (2,), (1, 2), (1,), 1),
]


@pytest.mark.parametrize("shape", _CONVOLUTIONS)
@pytest.mark.parametrize("zero", [0, 255, 117])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_convolution(run: Run, rng: Any, shape: Any, zero: int, layout: str) -> None:
    channels, outputs, size, kernel, strides, pads, dilations, group = shape
    x = rng.integers(0, 256, (2, channels, *size)).astype(np.uint8)
    x[0] = 0 if zero else 255  # the largest distance to the zero point
    w = rng.integers(-127, 128, (outputs, channels // group, *kernel)).astype(np.int8)
    b = rng.integers(-50000, 50000, outputs).astype(np.int32)
    m = rng.uniform(1e-4, 1e-2, outputs).astype(np.float32)
    op = {
        "x_zero_point": zero, **_U8, "kernel_shape": kernel, "strides": strides, "pads": pads,
        "dilations": dilations, "group": group, "layout": layout,
    }  # fmt: skip
    acc = convolve(x.astype(np.int64) - zero, w.astype(np.int64), b.astype(np.int64), op)
    expected = requantize(acc, m.reshape(1, -1, *[1] * len(size)), _U8)
    given = np.moveaxis(x, 1, -1) if layout == "NHWC" else x
    found = run("int.Conv", {"x": given}, op, {"w": w, "b": b, "m": m})
    np.testing.assert_array_equal(
        np.moveaxis(found, -1, 1) if layout == "NHWC" else found, expected
    )


@pytest.mark.parametrize("size", [(7, 2), (5, 4), (9, 6)])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_one_window_a_line_of_one_channel_is_not_misread(
    run: Run, rng: Any, size: Any, layout: str
) -> None:
    """oneDNN mixed up lines where windows move by one line and three columns."""
    kernel = (2, max(size[1] - 2, 2))
    shape = (1, 56, size, kernel, (1, 3), (0, 0, 0, 0), (2, 1), 1)
    test_convolution(run, rng, shape, 255, layout)


def test_windows_that_all_lie_in_the_padding_are_no_error(run: Run, rng: Any) -> None:
    test_convolution(run, rng, (2, 3, (2, 4), (1, 1), (5, 1), (3, 0, 0, 0), (1, 1), 1), 117, "NCHW")


@pytest.mark.parametrize("channels", [513, 4096])
@pytest.mark.parametrize("kind", [DType.UINT8, DType.INT16])
def test_long_sums_of_extremes_are_exact(run: Run, rng: Any, channels: int, kind: DType) -> None:
    """Sums just below and far beyond 2**24, where float32 stops holding every integer."""
    x = rng.choice([kind.minimum, kind.maximum], (2, channels, 2, 2)).astype(kind.numpy)
    w = rng.choice([-127, 127], (3, channels, 1, 1)).astype(np.int8)
    w[0] = 127
    b = np.array([1, -7, 3], np.int32)
    # One step of the output is one of the accumulator: every unit shows.
    m = np.array([2.0**-16, 2.0**-10, 1.0], np.float32)
    op = {
        "x_zero_point": 1, **_I16, "kernel_shape": (1, 1), "strides": (1, 1),
        "pads": (0, 0, 0, 0), "dilations": (1, 1), "group": 1,
    }  # fmt: skip
    centred, wide = x.astype(np.int64) - 1, w.astype(np.int64)
    acc = convolve(centred, wide, b, op)
    parameters = {"w": w, "b": b, "m": m}
    found = run("int.Conv", {"x": x}, op, parameters, DType.INT16)
    np.testing.assert_array_equal(found, requantize(acc, m.reshape(1, -1, 1, 1), _I16))
    rows = np.moveaxis(x, 1, -1).reshape(2, 4, channels)
    parameters = {"w": np.ascontiguousarray(w[:, :, 0, 0].T), "b": b, "m": m}
    found = run("int.Linear", {"x": rows}, {"x_zero_point": 1, **_I16}, parameters, DType.INT16)
    product = (rows.astype(np.int64) - 1) @ wide[:, :, 0, 0].T + b
    np.testing.assert_array_equal(found, requantize(product, m, _I16))


def test_no_convolution_is_transformed(run: Run, rng: Any) -> None:
    """The case for which fast algorithms (Winograd, FFT) exist: 3x3, stride 1, many channels."""
    x = rng.choice([0, 1, 254, 255], (1, 128, 12, 12)).astype(np.uint8)
    w = rng.choice([-127, -1, 126, 127], (64, 128, 3, 3)).astype(np.int8)
    b, m = np.zeros(64, np.int32), np.full(64, 2.0**-6, np.float32)
    op = {
        "x_zero_point": 128, **_I16, "kernel_shape": (3, 3), "strides": (1, 1),
        "pads": (0, 0, 0, 0), "dilations": (1, 1), "group": 1,
    }  # fmt: skip
    seen = np.lib.stride_tricks.sliding_window_view(x.astype(np.int64) - 128, (3, 3), (2, 3))
    acc = np.einsum("nchwij,ocij->nohw", seen, w.astype(np.int64))
    found = run("int.Conv", {"x": x}, op, {"w": w, "b": b, "m": m}, DType.INT16)
    np.testing.assert_array_equal(found, requantize(acc, 2.0**-6, _I16))


def test_an_accumulator_beyond_the_proof_is_refused(run: Run) -> None:
    op = {"x_zero_point": -(2**31), **_I16}
    w = np.full((2**15, 1), 127, np.int8)
    parameters = {"w": w, "b": np.zeros(1, np.int32), "m": np.ones(1, np.float32)}
    with pytest.raises(InvariantError, match="expected less than 2\\*\\*53"):
        run("int.Linear", {"x": np.zeros((1, 2**15), np.int32)}, op, parameters)


@pytest.mark.parametrize("kind", [np.uint8, np.int16])
def test_matrix_product_broadcasts(run: Run, rng: Any, kind: Any) -> None:
    limits = np.iinfo(kind)
    a = rng.integers(limits.min, limits.max + 1, (2, 3, 4, 70)).astype(kind)
    b = rng.integers(limits.min, limits.max + 1, (2, 1, 70, 5)).astype(kind)
    a[0] = limits.max
    op = {
        "a_zero_point": 7,
        "b_zero_point": limits.min,
        "multiplier": float(np.float32(1e-5)),
        **_U8,
    }
    acc = np.matmul(a.astype(np.int64) - 7, b.astype(np.int64) - limits.min)
    found = run("int.MatMul", {"a": a, "b": b}, op)
    np.testing.assert_array_equal(found, requantize(acc, 1e-5, _U8))


@pytest.mark.parametrize(
    "kinds", [(np.uint8, np.uint8), (np.uint8, np.int16), (np.uint16, np.int32)]
)
@pytest.mark.parametrize("factors", [(16384, -12345), (1048576, 999999), (1, 0)])
def test_sum_and_product(run: Run, rng: Any, kinds: Any, factors: tuple[int, int]) -> None:
    a, b = (
        rng.integers(np.iinfo(k).min, np.iinfo(k).max, s, endpoint=True).astype(k)
        for k, s in zip(kinds, [(2, 5, 6), (1, 5, 1)], strict=True)
    )
    a.flat[0], b.flat[0] = np.iinfo(kinds[0]).max, np.iinfo(kinds[1]).min
    zeros = {"a_zero_point": int(np.iinfo(kinds[0]).max), "b_zero_point": 5}
    wide_a = a.astype(np.int64) - zeros["a_zero_point"]
    wide_b = b.astype(np.int64) - 5
    op = {"a_multiplier": factors[0], "b_multiplier": factors[1], "multiplier": 2.0**-16, **_I16}
    acc = wide_a * factors[0] + wide_b * factors[1]
    found = run("int.Add", {"a": a, "b": b}, {**zeros, **op}, to=DType.INT16)
    np.testing.assert_array_equal(found, requantize(acc, 2.0**-16, _I16))
    found = run("int.Mul", {"a": a, "b": b}, {**zeros, "multiplier": 0.25, **_I16}, to=DType.INT16)
    np.testing.assert_array_equal(found, requantize(wide_a * wide_b, 0.25, _I16))


@pytest.mark.parametrize("to", [DType.UINT8, DType.INT8, DType.INT16, DType.UINT16, DType.INT32])
@pytest.mark.parametrize("multiplier", [0.5, 1.5, 2.0**-9, 1e30, 1e-30])
def test_requantization_of_every_value(run: Run, to: DType, multiplier: float) -> None:
    """Ties, saturation at both ends, and zero points at the ends of the type."""
    x = np.arange(-32768, 32768, dtype=np.int16).reshape(1, -1)
    for zero, source in itertools.product({to.minimum, 0, to.maximum}, (-32768, 0, 32767)):
        if to is DType.INT32 and zero:
            continue
        out = {"y_zero_point": zero, "clamp_min": max(to.minimum, -(1 << 24)),
               "clamp_max": min(to.maximum, 1 << 24)}  # fmt: skip
        op = {"x_zero_point": source, "multiplier": float(np.float32(multiplier)), **out}
        expected = requantize(x.astype(np.int64) - source, multiplier, out)
        np.testing.assert_array_equal(run("int.Requantize", {"x": x}, op, to=to), expected)


def test_conversion_of_accumulators_rounds_once(run: Run) -> None:
    """An accumulator of 25 bits and more is rounded to float32 once, half to even."""
    base = np.array([1 << 24, 1 << 25, 1 << 30], np.int64)
    x = (base[:, None] + np.arange(-70, 70)).clip(max=2**31 - 1).astype(np.int32).reshape(1, -1)
    scale = float(np.float32(3.0))
    found = run("int.Dequantize", {"x": x}, {"scale": scale, "zero_point": -1}, to=DType.FLOAT32)
    exact = [np.float32(float(int(v) + 1)) * np.float32(3.0) for v in x[0]]
    np.testing.assert_array_equal(found[0], np.array(exact, np.float32))


@pytest.mark.parametrize("to", [DType.UINT8, DType.INT16, DType.UINT16])
def test_quantize_and_dequantize(run: Run, rng: Any, to: DType) -> None:
    x = np.concatenate([
        rng.normal(0, 50, 5000), np.arange(-300, 300) / 4, [1e30, -1e30, np.inf, -np.inf, -0.0],
    ]).astype(np.float32).reshape(1, -1)  # fmt: skip
    zero = (to.minimum + to.maximum) // 3
    op = {"scale": 0.5, "zero_point": zero, "clamp_min": to.minimum, "clamp_max": to.maximum - 1}
    q = run("int.Quantize", {"x": x}, op, to=to)
    steps = np.clip(
        np.rint(x / np.float32(0.5)).astype(np.float64) + zero, to.minimum, to.maximum - 1
    )
    np.testing.assert_array_equal(q, steps.astype(np.int64))
    real = run("int.Dequantize", {"x": q}, {"scale": 0.5, "zero_point": zero}, to=DType.FLOAT32)
    np.testing.assert_array_equal(real, (q.astype(np.int64) - zero).astype(np.float32) / 2)


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
def test_table(run: Run, rng: Any, kind: Any) -> None:
    x = np.arange(256, dtype=np.uint8).view(kind).reshape(1, -1)
    table = rng.integers(0, 65536, 256).astype(np.uint16)
    expected = [table[int(v) - np.iinfo(kind).min] for v in x[0]]
    found = run("int.Table", {"x": x}, {}, {"t": table}, DType.UINT16)
    np.testing.assert_array_equal(found[0], expected)


@pytest.mark.parametrize("kind", [np.uint16, np.int16])
def test_interpolated_table(run: Run, rng: Any, kind: Any) -> None:
    x = np.arange(65536).astype(np.uint16).view(kind).reshape(1, -1)
    table = rng.integers(-32768, 32768, 513).astype(np.int32)
    expected = []
    for v in x[0].tolist():
        u = v - np.iinfo(kind).min
        i, f = u >> 7, u & 127
        left, right = int(table[i]), int(table[i + 1])
        expected.append(left + ((right - left) * f + 64) // 128)
    found = run("int.InterpolatedTable", {"x": x}, {}, {"t": table}, DType.INT16)
    np.testing.assert_array_equal(found[0], expected)
