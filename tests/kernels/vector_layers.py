"""Layers that kernels with vectors are made for: chosen ones, and random ones."""

from __future__ import annotations

import itertools

import numpy as np

from quantable.ir import DType

U8, I16 = DType.UINT8, DType.INT16


def add_conv(
    network, channels, size, kernel, strides, dilations, y_type=U8, batch=1, depth=0, least=None,
    has_extreme_weights=False,
):  # fmt: skip
    """Add a convolution without padding; depthwise with `depth`.

    The least weight is drawn: some networks have none of -128, the end of its type.
    """
    random = network.random
    least = random.choice([-128, -127]) if least is None else least
    in_c, out_c = channels
    group = in_c if depth else 1
    out = [
        (s - d * (k - 1) - 1) // st + 1
        for s, k, st, d in zip(size, kernel, strides, dilations, strict=True)
    ]
    x = network.input(U8, [batch, *size, in_c])
    shape = (out_c, in_c // group, *kernel)
    weight = random.integers(least, 128, shape)
    if has_extreme_weights:
        weight = np.where(weight < random.choice([-200, 0, 200]), least, 127)
    weight = network.parameter(weight, DType.INT8)
    bias = network.parameter(random.integers(-5000, 5000, out_c), DType.INT32)
    reach = 100.0 * np.sqrt(np.prod(shape[1:])) * 255
    multiplier = network.parameter(network.multipliers(out_c, y_type, reach), DType.FLOAT32)
    network.apply(
        "int.Conv", (x, weight, bias, multiplier), (y_type, [batch, *out, out_c]),
        x_zero_point=network.zero_point(U8), group=group, layout="NHWC",
        kernel_shape=tuple(kernel), strides=tuple(strides), dilations=tuple(dilations),
        pads=(0,) * (2 * len(kernel)), **network.requantization(y_type),
    )  # fmt: skip


def window_size(network, kernel, dilations):
    """Draw a size that the window fits in."""
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    return [span + int(network.random.integers(0, 16)) for span in spans]


def add_convs_of_every_number_of_outputs(network):
    """Blocks of one to four vectors, whole and with lanes that no channel has."""
    for out_c, y_type in itertools.product((1, 17, 40, 48, 66, 130), (U8, I16)):
        add_conv(network, (4, out_c), (4, 5), (1, 1), (1, 1), (1, 1), y_type)


def add_convs_of_every_window(network, in_c):
    """Runs that are no whole quads, strides, dilations, many lines in a tile, several images."""
    for kernel, strides, dilations in itertools.product(
        ((1, 1), (3, 3), (2, 5)), ((1, 1), (2, 3)), ((1, 1), (2, 2))
    ):
        size = window_size(network, kernel, dilations)
        add_conv(network, (in_c, 20), size, kernel, strides, dilations, batch=2)


def add_convs_of_one_spatial_dimension(network):
    for kernel in (1, 3):
        add_conv(network, (5, 18), (9,), (kernel,), (2,), (1,))
        add_conv(network, (18, 18), (9,), (kernel,), (1,), (1,), depth=1)


def add_depthwise(network, channels):
    """Columns that are shared between outputs and that are not, more rows than a quad."""
    for kernel, strides, dilations in (
        ((3, 3), (1, 1), (1, 1)), ((3, 3), (2, 2), (1, 1)), ((5, 2), (1, 3), (2, 1)),
        ((1, 4), (2, 2), (1, 1)), ((3, 3), (1, 1), (1, 2)),
    ):  # fmt: skip
        size = window_size(network, kernel, dilations)
        add_conv(network, (channels,) * 2, size, kernel, strides, dilations, batch=2, depth=1)


def add_linears(network):
    for rows, inner, columns in ((1, 64, 10), (7, 33, 65), (30, 5, 100)):
        operands = (
            network.input(U8, (rows, inner)),
            network.parameter(network.random.integers(-128, 128, (inner, columns)), DType.INT8),
            network.parameter(network.random.integers(-9999, 9999, columns), DType.INT32),
            network.parameter(network.multipliers(columns, U8, 1e5), DType.FLOAT32),
        )
        network.apply(
            "int.Linear", operands, (U8, (rows, columns)), x_zero_point=network.zero_point(U8),
            **network.requantization(U8),
        )  # fmt: skip


def add_sums(network):
    for count, factors in itertools.product((1, 31, 64, 1000), ((16384, 9000), (-7, 32767))):
        network.add_bytes(count, factors)


def add_matmul(network, size, first=(), second=()):
    """Add a product of [*first, rows, inner] and [*second, inner, columns]."""
    rows, inner, columns = size
    batch = np.broadcast_shapes(first, second)
    operands = [
        network.input(U8, (*first, rows, inner)), network.input(U8, (*second, inner, columns))
    ]  # fmt: skip
    zeros = {f"{side}_zero_point": network.zero_point(U8) for side in "ab"}
    multiplier = float(network.multipliers(1, U8, 2e4 * np.sqrt(inner))[0])
    network.apply(
        "int.MatMul", operands, (U8, (*batch, rows, columns)), multiplier=multiplier, **zeros,
        **network.requantization(U8),
    )  # fmt: skip


def add_matmuls(network, inner):
    """Broadcast batches, more columns than a block and rows than a tile, sums of any length."""
    for first, second, columns in (((), (), 5), ((2, 1), (3,), 33), ((1,), (2,), 64), ((), (), 97)):
        rows = int(network.random.integers(1, 16))
        add_matmul(network, (rows, inner, columns), first, second)


def add_means_and_maxima(network):
    for channels, (high, wide) in itertools.product((3, 64, 70), ((1, 1), (7, 6), (3, 3))):
        x = network.input(U8, (2, high, wide, channels))
        facts = {"x_zero_point": network.zero_point(U8), **network.requantization(U8)}
        multiplier = float(np.float32(0.9 / (high * wide)))
        network.apply(
            "int.ReduceMean", (x,), (U8, (2, 1, 1, channels)), axes=(1, 2), keepdims=1,
            multiplier=multiplier, **facts,
        )  # fmt: skip
        window = {"strides": (1, 1), "dilations": (1, 1), "pads": (0,) * 4, "layout": "NHWC"}
        counted = np.full(high * wide, multiplier, np.float32)
        network.apply(
            "int.AveragePool", (x, network.parameter(counted, DType.FLOAT32)),
            (U8, (2, 1, 1, channels)), kernel_shape=(high, wide), count_include_pad=0, **window,
            **facts,
        )  # fmt: skip
        window["pads"] = (0, 0, 1, 1)
        network.apply(
            "int.MaxPool", (x,), (U8, (2, high, wide, channels)), kernel_shape=(2, 2), **window
        )


def add_random_conv(network, depth=0):
    """Add a convolution whose every fact is drawn, in sizes around those of tiles."""
    random = network.random
    kernel, strides, dilations = (
        [int(random.integers(1, limit)) for _ in "hw"] for limit in (5, 4, 3)
    )
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    size = [span + int(random.integers(0, 9)) for span in spans]
    in_c, out_c = (int(random.choice([c, 4 * c, 8 * c])) for c in random.integers(1, 10, 2))
    y_type = U8 if depth or random.random() < 0.8 else I16
    add_conv(
        network, (in_c, in_c if depth else out_c), size, kernel, strides,
        (dilations[0], 1) if depth else dilations, y_type, int(random.integers(1, 3)), depth,
        int(random.choice([-128, -127])), bool(random.random() < 0.1),
    )  # fmt: skip


def add_random_window_of_nine(network):
    """Add a convolution of 3 x 3 that moves by one or two, of whole vectors of channels."""
    random = network.random
    channels = int(random.choice([16, 32, 48, 64, 80, 128])), int(random.integers(16, 100))
    size = [int(random.integers(4, 20)) for _ in "hw"]
    add_conv(
        network, channels, size, (3, 3), (int(random.integers(1, 3)),) * 2, (1, 1),
        U8 if random.random() < 0.8 else I16,
        int(random.integers(1, 3)), 0, None, bool(random.random() < 0.2),
    )  # fmt: skip


def add_random_linear(network):
    random = network.random
    rows, inner, columns = (int(random.integers(1, limit)) for limit in (20, 150, 70))
    least = int(random.choice([-128, -127]))
    y_type = U8 if random.random() < 0.8 else I16
    operands = (
        network.input(U8, (rows, inner)),
        network.parameter(random.integers(least, 128, (inner, columns)), DType.INT8),
        network.parameter(random.integers(-9999, 9999, columns), DType.INT32),
        network.parameter(network.multipliers(columns, y_type, 1e5), DType.FLOAT32),
    )
    network.apply(
        "int.Linear", operands, (y_type, (rows, columns)), x_zero_point=network.zero_point(U8),
        **network.requantization(y_type),
    )  # fmt: skip


def add_random_matmul(network):
    random = network.random
    rows, columns = (int(random.integers(1, 40)) for _ in "rc")
    inner = int(random.choice([1, 3, 8, 13, 16, 32, 40, 63]))
    batch = [int(random.integers(1, 4)) for _ in range(random.integers(0, 3))]
    shared = [1] * len(batch) if random.random() < 0.5 else batch
    add_matmul(network, (rows, inner, columns), batch, shared)


def add_random_sum(network):
    factors = [int(network.random.integers(-32767, 32768)) for _ in "ab"]
    network.add_bytes(int(network.random.integers(1, 200)), (factors[0], factors[1]))


def add_random_mean(network):
    random = network.random
    high, wide, channels = (int(random.integers(1, limit)) for limit in (20, 20, 80))
    multiplier = float(np.float32(random.uniform(0.3, 3) / (high * wide)))
    network.apply(
        "int.ReduceMean", (network.input(U8, (2, high, wide, channels)),),
        (U8, (2, 1, 1, channels)), axes=(1, 2), keepdims=1, multiplier=multiplier,
        x_zero_point=network.zero_point(U8), **network.requantization(U8),
    )  # fmt: skip


def add_random_maximum(network):
    random = network.random
    kernel, strides = ([int(random.integers(1, 4)) for _ in "hw"] for _ in "ks")
    pads = [int(random.integers(0, k)) for k in (*kernel, *kernel)]
    size = [k + int(random.integers(0, 6)) for k in kernel]
    out = [
        (s + a + b - k) // st + 1
        for s, k, st, a, b in zip(size, kernel, strides, pads[:2], pads[2:], strict=True)
    ]
    channels = int(random.integers(1, 70))
    network.apply(
        "int.MaxPool", (network.input(U8, (2, *size, channels)),), (U8, (2, *out, channels)),
        kernel_shape=tuple(kernel), strides=tuple(strides), dilations=(1, 1), pads=tuple(pads),
        layout="NHWC",
    )  # fmt: skip


RANDOM = {
    "conv": add_random_conv,
    "depthwise": lambda network: add_random_conv(network, depth=1),
    "linear": add_random_linear,
    "matmul": add_random_matmul,
    "sum": add_random_sum,
    "mean": add_random_mean,
    "maximum": add_random_maximum,
}
"""One random layer of each kernel."""
