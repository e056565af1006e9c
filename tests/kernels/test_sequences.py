"""MatMul, Softmax and LayerNormalization against the reference."""

from __future__ import annotations

import itertools

import numpy as np

from quantable.ir import DType

U8, I8, U16, I16 = DType.UINT8, DType.INT8, DType.UINT16, DType.INT16
ALL = (U8, I8, U16, I16)
MATRICES = (
    ((2, 3, 4, 5), (2, 3, 5, 70)),
    ((1, 3, 4, 5), (2, 1, 5, 6)),
    ((4, 5), (7, 5, 6)),
    ((5,), (2, 5, 3)),
    ((2, 4, 5), (5,)),
    ((9, 130), (130, 64)),
)


def test_matmul(network, agree):
    for number, (a_type, b_type) in enumerate(itertools.product(ALL, ALL)):
        a, b = MATRICES[number % len(MATRICES)]
        y_type = ALL[number % 4]
        shape = (np.zeros(a, np.int8) @ np.zeros(b, np.int8)).shape
        reach = np.sqrt(a[-1]) * 2.0 ** (a_type.bits + b_type.bits - 2)
        network.apply(
            "int.MatMul",
            (network.input(a_type, a), network.input(b_type, b)),
            (y_type, shape),
            a_zero_point=network.zero_point(a_type),
            b_zero_point=network.zero_point(b_type),
            multiplier=float(network.multipliers(1, y_type, reach)[0]),
            **network.requantization(y_type),
        )
    agree(network)


def _exp_tables(network, x_type, scale):
    steps = np.arange(256) * np.float64(scale)
    low = np.rint(np.exp(-steps) * 2**30)
    high = np.rint(np.exp(-256 * steps) * 2**30)[: 1 if x_type.bits == 8 else 256]
    return [network.parameter(table, DType.UINT32) for table in (high, low)]


def test_softmax(network, agree):
    outputs = ((U8, 8, 0), (I8, 8, -128), (U16, 16, 0), (I16, 15, 0))
    for x_type, (y_type, bits, zero) in itertools.product(ALL, outputs):
        scale = 0.06 if x_type.bits == 8 else 0.0005
        shape = (2, 3, int(network.random.integers(1, 40)))
        x = network.input(x_type, shape)
        network.apply(
            "int.Softmax",
            (x, *_exp_tables(network, x_type, scale)),
            (y_type, shape),
            y_zero_point=zero,
            fraction_bits=bits,
        )
    agree(network)


def _add_layer_normalization(network, x_type, y_type, count):
    random = network.random
    gamma = random.integers(-32767, 32767, count)
    beta = random.integers(-(2**33), 2**33, count)
    operands = (
        network.input(x_type, (3, count)),
        network.parameter(gamma, DType.INT32),
        network.parameter(beta, DType.INT64),
    )
    network.apply(
        "int.LayerNormalization",
        operands,
        (y_type, (3, count)),
        epsilon=int(random.integers(1, 10**6)),
        multiplier=float(network.multipliers(1, y_type, 16384.0 * 32767 * 4)[0]),
        **network.requantization(y_type),
    )


def test_layer_normalization(network, agree):
    for x_type, y_type in itertools.product(ALL, ALL):
        _add_layer_normalization(network, x_type, y_type, int(network.random.integers(1, 200)))
    agree(network)


def test_nothing_is_contracted_to_fused_multiply_adds(network, agree):
    """GNU mode contracts by default where the machine has such instructions."""
    for x_type in ALL:
        _add_layer_normalization(network, x_type, U8, 64)
        network.apply(
            "int.Requantize", (network.input(x_type, (4000,)),), (I16, (4000,)), x_zero_point=3,
            multiplier=0.37, y_zero_point=0, clamp_min=-32768, clamp_max=32767,
        )  # fmt: skip
    agree(network, ("-O3", "-march=native", "-std=gnu11", "-ffp-contract=fast"))
