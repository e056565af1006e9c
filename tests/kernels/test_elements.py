"""Element-wise operations and reductions against the reference."""

from __future__ import annotations

import itertools

import numpy as np

from quantable.ir import DType

U8, I8, U16, I16 = DType.UINT8, DType.INT8, DType.UINT16, DType.INT16
ALL = (U8, I8, U16, I16)
SHAPES = (
    ((2, 3, 5), (2, 3, 5)),
    ((2, 3, 5), (5,)),
    ((2, 1, 5), (1, 3, 1)),
    ((1,), (4, 70)),
    ((), (3,)),
    ((2, 1, 2, 1, 3, 1), (1, 3, 1, 2, 1, 2)),
)


def _scale(network, y_type, reach):
    return float(network.multipliers(1, y_type, reach)[0])


def _zero_points(network, *types):
    return {f"{s}_zero_point": network.zero_point(t) for s, t in zip("ab", types, strict=True)}


def test_add(network, agree):
    for number, (a_type, b_type) in enumerate(itertools.product(ALL, ALL)):
        shapes = SHAPES[number % len(SHAPES)]
        bits = 14 if a_type.bits == b_type.bits == 8 else 20
        y_type = ALL[number % 4]
        network.apply(
            "int.Add",
            (network.input(a_type, shapes[0]), network.input(b_type, shapes[1])),
            (y_type, np.broadcast_shapes(*shapes)),
            a_multiplier=int(network.random.integers(1, 2**bits, endpoint=True)),
            b_multiplier=int(network.random.integers(-(2**bits), 2**bits)),
            multiplier=_scale(network, y_type, 2.0 ** (bits + a_type.bits)),
            **_zero_points(network, a_type, b_type),
            **network.requantization(y_type),
        )
    agree(network)


def test_mul(network, agree):
    for number, (a_type, b_type) in enumerate(itertools.product(ALL, ALL)):
        shapes = SHAPES[number % len(SHAPES)]
        y_type = ALL[number % 4]
        network.apply(
            "int.Mul",
            (network.input(a_type, shapes[0]), network.input(b_type, shapes[1])),
            (y_type, np.broadcast_shapes(*shapes)),
            multiplier=_scale(network, y_type, 2.0 ** (a_type.bits + b_type.bits - 2)),
            **_zero_points(network, a_type, b_type),
            **network.requantization(y_type),
        )
    agree(network)


def test_requantize(network, agree):
    for x_type, y_type in itertools.product(ALL, ALL):
        network.apply(
            "int.Requantize",
            (network.input(x_type, (3, 41)),),
            (y_type, (3, 41)),
            x_zero_point=network.zero_point(x_type),
            multiplier=_scale(network, y_type, 2.0**x_type.bits),
            **network.requantization(y_type),
        )
    agree(network)


def test_requantize_rounds_ties_to_even_at_every_input(network, agree):
    """All 65,536 inputs, half of them ties; the definition in Python's exact integers."""
    network.samples = lambda: {"x0": np.tile(np.arange(-32768, 32768, dtype=np.int16), (3, 1))}
    network.apply(
        "int.Requantize", (network.input(I16, (65536,)),), (I16, (65536,)), x_zero_point=1,
        multiplier=0.5, y_zero_point=-3, clamp_min=-16000, clamp_max=16001,
    )  # fmt: skip
    found = agree(network)["y0.0"][0]
    expected = [min(max(round((x - 1) / 2) - 3, -16000), 16001) for x in range(-32768, 32768)]
    np.testing.assert_array_equal(found, expected)


def test_tables(network, agree):
    for x_type, y_type in itertools.product((U8, I8), ALL):
        table = network.parameter(network.integers(y_type, (256,)), y_type)
        network.apply("int.Table", (network.input(x_type, (300,)), table), (y_type, (300,)))
    for x_type, y_type in itertools.product((U16, I16), ALL):
        table = network.parameter(network.integers(y_type, (513,)), DType.INT32)
        x = network.input(x_type, (2000,))
        network.apply("int.InterpolatedTable", (x, table), (y_type, (2000,)))
    agree(network)


def test_reduce_mean(network, agree):
    axes = ((1, 2), (-1,), (0,), (0, 2), (0, 1, 2, 3), (3, 1))
    for number, (x_type, y_type) in enumerate(itertools.product(ALL, (U8, I16))):
        chosen, keepdims = axes[number % len(axes)], number % 2
        shape = (2, 3, 4, 5)
        reduced = {axis % 4 for axis in chosen}
        out = [
            1 if i in reduced else d for i, d in enumerate(shape) if keepdims or i not in reduced
        ]
        count = int(np.prod([shape[i] for i in reduced]))
        network.apply(
            "int.ReduceMean",
            (network.input(x_type, shape),),
            (y_type, out),
            x_zero_point=network.zero_point(x_type),
            axes=chosen,
            keepdims=keepdims,
            multiplier=_scale(network, y_type, count * 2.0**x_type.bits),
            **network.requantization(y_type),
        )
    agree(network)
