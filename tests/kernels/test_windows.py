"""Convolutions, linear layers and pools against the reference, and one against the definition."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from quantable.ir import DType

U8, I8, U16, I16 = DType.UINT8, DType.INT8, DType.UINT16, DType.INT16


def _out(size, kernel, stride, dilation, pads):
    return (size + sum(pads) - dilation * (kernel - 1) - 1) // stride + 1


def _geometry(random, size, rank):
    """Draw kernel, strides, dilations and pads until every window reaches the input."""
    while True:
        kernel, strides, dilations = (random.integers(1, 4, rank).tolist() for _ in range(3))
        pads = random.integers(0, 3, 2 * rank).tolist()
        pads = [min(p, (kernel[i % rank] - 1) * dilations[i % rank]) for i, p in enumerate(pads)]
        out = [
            _out(size[i], kernel[i], strides[i], dilations[i], (pads[i], pads[rank + i]))
            for i in range(rank)
        ]
        reach = [(kernel[i] - 1) * dilations[i] for i in range(rank)]
        if min(out) >= 1 and all(r < s for r, s in zip(reach, size, strict=True)):
            names = ("kernel_shape", "strides", "dilations", "pads")
            values = (kernel, strides, dilations, pads)
            return out, {name: tuple(v) for name, v in zip(names, values, strict=True)}


def _arrange(layout, batch, channels, spatial):
    return [batch, *spatial, channels] if layout == "NHWC" else [batch, channels, *spatial]


def _weights(network, dtype, shape):
    low = -8 if dtype is DType.INT4 else -128
    return network.parameter(network.random.integers(low, -low, shape), dtype)


def _add_conv(network, x_type, y_type, layout, groups, rank=2, weight_type=DType.INT8):
    random = network.random
    depth, fan = int(random.integers(1, 6)), int(random.integers(1, 4))
    if groups > 4:  # depthwise
        depth = fan = 1
    size = random.integers(2, 8, rank).tolist()
    out, attributes = _geometry(random, size, rank)
    in_c, out_c = depth * groups, fan * groups
    x = network.input(x_type, _arrange(layout, 2, in_c, size))
    products = depth * int(np.prod(attributes["kernel_shape"]))
    weight = _weights(network, weight_type, (out_c, depth, *attributes["kernel_shape"]))
    bias = network.parameter(random.integers(-5000, 5000, out_c), DType.INT32)
    reach = 100.0 * np.sqrt(products) * (x_type.maximum - x_type.minimum)
    multiplier = network.parameter(network.multipliers(out_c, y_type, reach), DType.FLOAT32)
    network.apply(
        "int.Conv",
        (x, weight, bias, multiplier),
        (y_type, _arrange(layout, 2, out_c, out)),
        x_zero_point=network.zero_point(x_type),
        group=groups,
        layout=layout,
        **network.requantization(y_type),
        **attributes,
    )


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_conv(network, agree, layout):
    for x_type, y_type in itertools.product((U8, I8, U16, I16), (U8, I8, U16, I16)):
        for groups in (1, 3, 70):
            _add_conv(network, x_type, y_type, layout, groups)
    agree(network)


def test_conv_of_one_spatial_dimension(network, agree):
    for layout, groups in itertools.product(("NHWC", "NCHW"), (1, 2, 9)):
        _add_conv(network, U8, I8, layout, groups, rank=1)
    agree(network)


def test_conv_with_4_bit_weights(network, agree):
    for groups in (1, 2, 9):
        _add_conv(network, U8, U8, "NHWC", groups, weight_type=DType.INT4)
    agree(network)


def test_conv_equals_its_definition(network, agree):
    """Brute force from docs/integer-operations.md, without the reference runtime."""
    random = network.random
    weight = random.integers(-128, 128, (5, 2, 3, 2))
    bias, scale = random.integers(-999, 999, 5), network.multipliers(5, U8, 20000.0)
    operands = (
        network.input(U8, (1, 6, 5, 4)),
        network.parameter(np.concatenate([weight, weight[:1]]), DType.INT8),
        network.parameter(np.append(bias, 7), DType.INT32),
        network.parameter(np.append(scale, scale[:1]), DType.FLOAT32),
    )
    network.apply(
        "int.Conv", operands, (U8, (1, 4, 3, 6)), x_zero_point=131, group=2, layout="NHWC",
        y_zero_point=9, clamp_min=3, clamp_max=250, kernel_shape=(3, 2), strides=(2, 2),
        dilations=(1, 1), pads=(2, 1, 1, 0),
    )  # fmt: skip
    arrays = agree(network)
    weight, scale = np.concatenate([weight, weight[:1]]), np.append(scale, scale[:1])
    bias = np.append(bias, 7)
    padded = np.zeros((9, 6, 4), np.int64)
    padded[2:8, 1:6] = arrays["x0"][0, 0].astype(np.int64) - 131
    for oh, ow, o in np.ndindex(4, 3, 6):
        window = padded[2 * oh : 2 * oh + 3, 2 * ow : 2 * ow + 2, 2 * (o // 3) : 2 * (o // 3) + 2]
        acc = bias[o] + (window * weight[o].transpose(1, 2, 0)).sum()
        real = np.float32(acc) * np.float32(scale[o])
        assert arrays["y0.0"][0, 0, oh, ow, o] == np.clip(np.rint(real) + 9, 3, 250)


def test_linear(network, agree):
    for x_type, y_type in itertools.product((U8, I8, U16, I16), (U8, I16)):
        inner, columns = network.random.integers(1, 90, 2).tolist()
        shape = network.random.integers(1, 4, int(network.random.integers(0, 3))).tolist()
        operands = (
            network.input(x_type, (*shape, inner)),
            _weights(network, DType.INT8, (inner, columns)),
            network.parameter(network.random.integers(-9999, 9999, columns), DType.INT32),
            network.parameter(network.multipliers(columns, y_type, 1e5), DType.FLOAT32),
        )
        zero = network.zero_point(x_type)
        attributes = network.requantization(y_type)
        out = (y_type, (*shape, columns))
        network.apply("int.Linear", operands, out, x_zero_point=zero, **attributes)
    agree(network)


def test_linear_longer_than_a_block_of_products(network, agree):
    """40,000 products of 255 and -128 (8 bits) overflow nothing, nor do 300 of 65,535."""
    for x_type, inner in ((U8, 40_000), (U16, 250)):
        operands = (
            network.input(x_type, (1, inner)),
            network.parameter(np.full((inner, 5), -128), DType.INT8),
            network.parameter(np.zeros(5), DType.INT32),
            network.parameter(network.multipliers(5, I16, 2e9), DType.FLOAT32),
        )
        network.apply(
            "int.Linear", operands, (I16, (1, 5)), x_zero_point=0, **network.requantization(I16)
        )
    agree(network)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_pools(network, agree, layout):
    random = network.random
    for x_type, counted in itertools.product((U8, I8, U16, I16), (0, 1)):
        for rank in (1, 2):
            size = random.integers(3, 8, rank).tolist()
            out, attributes = _geometry(random, size, rank)
            channels = int(random.choice([3, 70]))
            x = network.input(x_type, _arrange(layout, 2, channels, size))
            shape = _arrange(layout, 2, channels, out)
            network.apply("int.MaxPool", (x,), (x_type, shape), layout=layout, **attributes)
            taps = int(np.prod(attributes["kernel_shape"]))
            scale = np.float32(0.7) / np.arange(1, taps + 1, dtype=np.float32)
            y_type = random.choice([U8, I16])
            network.apply(
                "int.AveragePool",
                (x, network.parameter(scale, DType.FLOAT32)),
                (y_type, shape),
                x_zero_point=network.zero_point(x_type),
                count_include_pad=counted,
                layout=layout,
                **network.requantization(y_type),
                **attributes,
            )
    agree(network)
