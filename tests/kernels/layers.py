"""Layers of bytes, drawn for the kernels of processors that have their own."""

from __future__ import annotations

import numpy as np

from quantable.ir import DType

I32, F32 = DType.INT32, DType.FLOAT32


def conv(
    network, channels, size, kernel, strides, dilations, pads, *, x_type, y_type, batch=1,
    depth=False, least=None,
):  # fmt: skip
    """Add an int.Conv, channels last; `least` is the smallest weight."""
    random, rank = network.random, len(kernel)
    in_c, out_c = channels
    group = in_c if depth else 1
    axes = zip(size, kernel, strides, dilations, pads[:rank], pads[rank:], strict=True)
    out = [(s + a + b - d * (k - 1) - 1) // st + 1 for s, k, st, d, a, b in axes]
    x = network.input(x_type, [batch, *size, in_c])
    shape = (out_c, in_c // group, *kernel)
    if least is None:
        least = int(random.choice([-128, -127]))  # two weights of the latter fit one number
    weight = network.parameter(random.integers(least, 128, shape), DType.INT8)
    bias = network.parameter(random.integers(-5000, 5000, out_c), I32)
    reach = 100.0 * np.sqrt(np.prod(shape[1:])) * 255
    multiplier = network.parameter(network.multipliers(out_c, y_type, reach), F32)
    network.apply(
        "int.Conv", (x, weight, bias, multiplier), (y_type, [batch, *out, out_c]),
        x_zero_point=network.zero_point(x_type), group=group, layout="NHWC",
        kernel_shape=tuple(kernel), strides=tuple(strides), dilations=tuple(dilations),
        pads=tuple(pads), **network.requantization(y_type),
    )  # fmt: skip


def window(network, kernel, dilations):
    """Draw sizes that the window fits in, and borders up to far outside."""
    pads = [int(network.random.integers(0, 4)) for _ in (*kernel, *kernel)]
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    return [span + int(network.random.integers(0, 6)) for span in spans], pads


def linear(network, rows, inner, columns, least, *, x_type, y_type):
    """Add a linear layer; its last channel is one that no input changes."""
    random = network.random
    weight = random.integers(least, 128, (inner, columns))
    if least == -128 and inner > 1:
        weight[:2, 0] = -1, -128  # what does not fit one 16-bit number
    bias = random.integers(-9999, 9999, columns)
    multiplier = network.multipliers(columns, y_type, 1e5)
    bias[-1], multiplier[-1] = 2**30, 1e-8
    operands = (
        network.input(x_type, (rows, inner)), network.parameter(weight, DType.INT8),
        network.parameter(bias, I32), network.parameter(multiplier, F32),
    )  # fmt: skip
    network.apply(
        "int.Linear", operands, (y_type, (rows, columns)), x_zero_point=network.zero_point(x_type),
        **network.requantization(y_type),
    )  # fmt: skip


def pool(network, kind, channels, size, kernel, strides, pads, *, dtype, batch=1):
    """Add an int.MaxPool or int.AveragePool, channels last; every window reaches the input."""
    axes = zip(size, kernel, strides, pads[:2], pads[2:], strict=True)
    out = [(s + a + b - k) // st + 1 for s, k, st, a, b in axes]
    operands = [network.input(dtype, [batch, *size, channels])]
    facts = {}
    if kind == "int.AveragePool":
        taps = int(np.prod(kernel))
        means = network.random.uniform(0.3, 3.0) / (1 + np.arange(taps))
        operands.append(network.parameter(means, F32))
        facts = {
            "x_zero_point": network.zero_point(dtype),
            "count_include_pad": int(network.random.integers(0, 2)),
            **network.requantization(dtype),
        }
    network.apply(
        kind, operands, (dtype, [batch, *out, channels]), layout="NHWC",
        kernel_shape=tuple(kernel), strides=tuple(strides), dilations=(1, 1), pads=tuple(pads),
        **facts,
    )  # fmt: skip
