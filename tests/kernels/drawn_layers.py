"""Random layers of unsigned bytes, for kernels of every set: shapes, strides, dilations, padding,
extreme zero points and scales, saturation at both ends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quantable.ir import DType
from tests.kernels.conftest import Network

U8, I16 = DType.UINT8, DType.INT16


def add_conv(
    network: Network,
    channels: tuple[int, int],
    size: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
    y_type: DType = U8,
    batch: int = 1,
    *,
    is_depthwise: bool = False,
) -> None:
    """Add a convolution, channels last; every fourth one has a channel that no input changes."""
    random, rank = network.random, len(kernel)
    in_c, out_c = channels
    group = in_c if is_depthwise else 1
    axes = zip(size, kernel, strides, dilations, pads[:rank], pads[rank:], strict=True)
    out = [(s + a + b - d * (k - 1) - 1) // st + 1 for s, k, st, d, a, b in axes]
    shape = (out_c, in_c // group, *kernel)
    bias = random.integers(-5000, 5000, out_c)
    multiplier = network.multipliers(out_c, y_type, 100.0 * np.sqrt(np.prod(shape[1:])) * 255)
    if random.random() < 0.25:
        bias[-1], multiplier[-1] = 2**30, 1e-8
    operands = (
        network.input(U8, [batch, *size, in_c]),
        network.parameter(random.integers(-128, 128, shape), DType.INT8),
        network.parameter(bias, DType.INT32), network.parameter(multiplier, DType.FLOAT32),
    )  # fmt: skip
    network.apply(
        "int.Conv", operands, (y_type, [batch, *out, out_c]),
        x_zero_point=network.zero_point(U8), group=group, layout="NHWC",
        kernel_shape=tuple(kernel), strides=tuple(strides), dilations=tuple(dilations),
        pads=tuple(pads), **network.requantization(y_type),
    )  # fmt: skip


def add_linear(network: Network, rows: int, inner: int, columns: int, y_type: DType = U8) -> None:
    """Add a linear layer."""
    random = network.random
    reach = 100.0 * np.sqrt(inner) * 255
    operands = (
        network.input(U8, (rows, inner)),
        network.parameter(random.integers(-128, 128, (inner, columns)), DType.INT8),
        network.parameter(random.integers(-9999, 9999, columns), DType.INT32),
        network.parameter(network.multipliers(columns, y_type, reach), DType.FLOAT32),
    )  # fmt: skip
    network.apply(
        "int.Linear", operands, (y_type, (rows, columns)), x_zero_point=network.zero_point(U8),
        **network.requantization(y_type),
    )  # fmt: skip


def add_means(network: Network, channels: int, high: int, wide: int) -> None:
    """Add both kinds of a mean over all positions."""
    x = network.input(U8, (2, high, wide, channels))
    facts = {"x_zero_point": network.zero_point(U8), **network.requantization(U8)}
    multiplier = float(network.multipliers(1, U8, 255.0 * high * wide)[0])
    network.apply(
        "int.ReduceMean", (x,), (U8, (2, 1, 1, channels)), axes=(1, 2), keepdims=1,
        multiplier=multiplier, **facts,
    )  # fmt: skip
    counted = network.parameter(np.full(high * wide, multiplier, np.float32), DType.FLOAT32)
    network.apply(
        "int.AveragePool", (x, counted), (U8, (2, 1, 1, channels)), kernel_shape=(high, wide),
        strides=(1, 1), dilations=(1, 1), pads=(0,) * 4, layout="NHWC", count_include_pad=0,
        **facts,
    )  # fmt: skip


def draw_conv(network: Network, *, is_depthwise: bool = False, has_padding: bool = True) -> None:
    """Add a convolution of any shape that is small enough to be emulated by the hundred."""
    random = network.random
    kernel = tuple(int(random.choice([1, 2, 3, 3, 5])) for _ in "hw")
    if random.random() < 0.3:
        kernel = (3, 3)
    strides = tuple(int(random.choice([1, 1, 2, 3])) for _ in "hw")
    dilations = tuple(int(random.choice([1, 1, 1, 2])) for _ in "hw")
    pads = [int(random.integers(0, 3)) if has_padding else 0 for _ in range(4)]
    size = [
        d * (k - 1) + 1 + int(random.integers(0, 6)) for k, d in zip(kernel, dilations, strict=True)
    ]
    in_c, out_c = (int(random.integers(1, 20)) for _ in "io")
    if is_depthwise:
        in_c = out_c = in_c + 1
    y_type = I16 if random.random() < 0.2 and not is_depthwise else U8
    add_conv(
        network, (in_c, out_c), size, kernel, strides, dilations, pads, y_type,
        int(random.integers(1, 3)), is_depthwise=is_depthwise,
    )  # fmt: skip


def draw_linear(network: Network) -> None:
    """Add a linear layer of any shape."""
    random = network.random
    rows, inner, columns = (int(random.integers(1, limit)) for limit in (10, 80, 24))
    add_linear(network, rows, inner, columns, I16 if random.random() < 0.2 else U8)


def draw_add(network: Network) -> None:
    """Add a sum of bytes with any factors."""
    random = network.random
    factors = tuple(int(f) for f in random.integers(-32767, 32768, 2))
    network.add_bytes(int(random.integers(1, 120)), factors)


def draw_mean(network: Network) -> None:
    """Add means over any image."""
    channels, high, wide = (int(network.random.integers(1, limit)) for limit in (40, 8, 8))
    add_means(network, channels, high, wide)


DRAWN = {
    "conv": draw_conv, "depthwise": lambda network: draw_conv(network, is_depthwise=True),
    "linear": draw_linear, "add": draw_add, "mean": draw_mean,
}  # fmt: skip
"""By kind of kernel."""
