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


def test_softmax(network, agree):
    outputs = ((U8, 8, 0), (I8, 8, -128), (U16, 16, 0), (I16, 15, 0))
    for x_type, (y_type, bits, zero) in itertools.product(ALL, outputs):
        scale = 0.06 if x_type.bits == 8 else 0.0005
        count = int(network.random.integers(1, 40))
        network.softmax(x_type, y_type, 6, count, scale, bits, zero)
    agree(network)


def test_layer_normalization(network, agree):
    for x_type, y_type in itertools.product(ALL, ALL):
        network.layer_normalization(x_type, y_type, 3, int(network.random.integers(1, 200)))
    agree(network)


def test_nothing_is_contracted_to_fused_multiply_adds(network, agree):
    """GNU mode contracts by default where the machine has such instructions."""
    for x_type in ALL:
        network.layer_normalization(x_type, U8, 3, 64)
        network.apply(
            "int.Requantize", (network.input(x_type, (4000,)),), (I16, (4000,)), x_zero_point=3,
            multiplier=0.37, y_zero_point=0, clamp_min=-32768, clamp_max=32767,
        )  # fmt: skip
    agree(network, ("-O3", "-march=native", "-std=gnu11", "-ffp-contract=fast"))
