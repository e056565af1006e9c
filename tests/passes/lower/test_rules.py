"""Every family of rules: the integer result is within one step of the simulation."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from quantable.ir import DType, OperationQuantizationConfig, UnsupportedError

KINDS = ("u8", "i8", "i16", "u16")
PAIRS = list(itertools.product(KINDS, KINDS))


def _rng() -> np.random.Generator:
    return np.random.default_rng(11)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("group", "strides", "dilations", "pads"),
    [(1, (1, 1), (1, 1), (1, 1, 1, 1)), (2, (2, 1), (1, 2), (0, 1, 2, 1)),
     (4, (2, 2), (1, 1), (0, 0, 0, 0))],
)  # fmt: skip
def test_conv(
    building: Any, kind: str, group: int, strides: tuple[int, ...],
    dilations: tuple[int, ...], pads: tuple[int, ...],
) -> None:  # fmt: skip
    rng, network = _rng(), building.Network({"x": ("N", 4, 9, 9)})
    weight = rng.normal(size=(8, 4 // group, 3, 3)).astype(np.float32)
    x = network.own("c.in0", "u8", -1.5, 2)
    w = network.weight("c.in1", weight, 0)
    operands = ["x", network.parameter("w", weight),
                network.parameter("b", rng.normal(size=8).astype(np.float32))]  # fmt: skip
    y = network.add(
        "c", "Conv", operands, ("N", 8, "?h", "?w"), [x, w, network.bias("c.in2", x, w)],
        network.own("c.out0", kind, -5, 7), group=group, strides=strides, dilations=dilations,
        pads=pads,
    )  # fmt: skip
    graph = network.finish(y)
    assert building.steps_apart(graph, rng.normal(size=(2, 4, 9, 9))) <= 1


def test_conv_with_one_spatial_dimension(building: Any) -> None:
    rng, network = _rng(), building.Network({"x": ("N", 4, 20)})
    weight = rng.normal(size=(6, 4, 5)).astype(np.float32)
    x, w = network.own("c.in0", "i8", -2, 2), network.weight("c.in1", weight, 0)
    y = network.add(
        "c", "Conv", ["x", network.parameter("w", weight)], ("N", 6, 10), [x, w],
        network.own("c.out0", "u8", -5, 5), strides=(2,), auto_pad="SAME_UPPER",
    )  # fmt: skip
    assert building.steps_apart(network.finish(y), rng.normal(size=(2, 4, 20))) <= 1


def test_four_bit_weights_stay_four_bits(building: Any) -> None:
    rng, network = _rng(), building.Network({"x": ("N", 15)})
    weight = rng.normal(size=(15, 5)).astype(np.float32)
    x, w = network.own("l.in0", "u8", -2, 2), network.weight("l.in1", weight, 1, bits=4)
    out = network.own("l.out0", "u8", -8, 8)
    operands = ["x", network.parameter("w", weight)]
    graph = network.finish(network.add("l", "quantable.Linear", operands, ("N", 5), [x, w], out))
    assert building.lowered(graph).values["w"].dtype is DType.INT4
    assert building.steps_apart(graph, rng.normal(size=(4, 15))) <= 1


def test_bias_of_another_row_is_requantized(building: Any) -> None:
    rng, network = _rng(), building.Network({"x": ("N", 16)})
    weight = rng.normal(size=(16, 5)).astype(np.float32)
    w = network.weight("l.in1", weight, 1)
    other, own = network.own("p.in0", "u8", -1, 1), network.own("p.out0", "u8", 0, 1)
    source = network.add("p", "Relu", ["x"], ("N", 16), [other], own)
    bias = rng.normal(size=5).astype(np.float32)
    operands = [source, network.parameter("w", weight), network.parameter("b", bias)]
    slots = [network.overlapped(own), w, network.bias("l.in2", other, w)]
    out = network.own("l.out0", "u8", -8, 8)
    y = network.add("l", "quantable.Linear", operands, ("N", 5), slots, out)
    graph = network.finish(y)
    assert building.steps_apart(graph, rng.normal(size=(4, 16))) <= 1
    found = building.lowered(graph)
    step = found.array("l.multiplier") * network.rows["l.out0"].scale_array
    assert np.allclose(found.array("b") * step, bias, atol=float(step.max()))


@pytest.mark.parametrize(("a", "b"), list(itertools.product(KINDS[:2], KINDS[:2])))
def test_matmul(building: Any, a: str, b: str) -> None:
    rng, network = _rng(), building.Network({"a": (2, 3, 7, 16), "b": (3, 16, 5)})
    y = network.add(
        "m", "MatMul", ["a", "b"], (2, 3, 7, 5),
        [network.own("m.in0", a, -2, 3), network.own("m.in1", b, -1, 1)],
        network.own("m.out0", "i16", -12, 12),
    )  # fmt: skip
    graph = network.finish(y)
    samples = rng.normal(size=(2, 3, 7, 16)), rng.uniform(-1, 1, (3, 16, 5))
    assert building.steps_apart(graph, *samples) <= 1


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul"])
@pytest.mark.parametrize(("x", "out"), PAIRS)
def test_elementwise(building: Any, kind: str, x: str, out: str) -> None:
    rng, network = _rng(), building.Network({"a": (4, 1, 9), "b": (3, 9)})
    y = network.add(
        "e", kind, ["a", "b"], (4, 3, 9),
        [network.own("e.in0", x, -2, 3), network.own("e.in1", "u8", -0.1, 0.7)],
        network.own("e.out0", out, -3, 4),
    )  # fmt: skip
    graph = network.finish(y)
    apart = building.steps_apart(graph, rng.normal(size=(4, 1, 9)), rng.uniform(0, 0.7, (3, 9)))
    assert apart <= 1


@pytest.mark.parametrize("kind", ["Add", "Mul"])
def test_constant_operand(building: Any, kind: str) -> None:
    rng, network = _rng(), building.Network({"a": (4, 9)})
    constant = rng.uniform(-1, 1, 9).astype(np.float32)
    slots = [network.own("e.in0", "u8", -2, 2), network.own("e.in1", "i16", -1, 1)]
    operands = ["a", network.parameter("k", constant)]
    y = network.add("e", kind, operands, (4, 9), slots, network.own("e.out0", "i16", -3, 3))
    assert building.steps_apart(network.finish(y), rng.normal(size=(4, 9))) <= 1


@pytest.mark.parametrize(("x", "out"), PAIRS)
def test_lone_clip(building: Any, x: str, out: str) -> None:
    network = building.Network({"x": (1, 400)})
    bounds = [network.parameter("low", np.float32(-0.3)), network.parameter("high", np.float32(1))]
    y = network.add(
        "c", "Clip", ["x", *bounds], (1, 400),
        [network.own("c.in0", x, -2, 2), building.FREE, building.FREE],
        network.own("c.out0", out, -0.5, 1.5),
    )  # fmt: skip
    graph = network.finish(y)
    assert building.steps_apart(graph, np.linspace(-2, 2, 400)[None]) <= 1
    (op,) = [op for op in building.lowered(graph).operations if op.kind == "int.Requantize"]
    scale, zero = network.rows["c.out0"].scale[0], network.rows["c.out0"].zero_point[0]
    assert op.int_attribute("clamp_min") == round(-0.3 / scale) + zero
    assert op.int_attribute("clamp_max") == round(1 / scale) + zero


@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize(("x", "out"), [("u8", "u8"), ("i8", "i16"), ("i16", "u8")])
def test_average_pool(building: Any, include: int, x: str, out: str) -> None:
    rng, network = _rng(), building.Network({"x": (2, 3, 7, 7)})
    y = network.add(
        "p", "AveragePool", ["x"], (2, 3, 4, 4), [network.own("p.in0", x, -2, 2)],
        network.own("p.out0", out, -2, 2), kernel_shape=(3, 3), strides=(2, 2),
        pads=(1, 1, 1, 1), count_include_pad=include,
    )  # fmt: skip
    assert building.steps_apart(network.finish(y), rng.normal(size=(2, 3, 7, 7))) <= 1


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
def test_pool_with_ceil_mode(building: Any, kind: str) -> None:
    rng, network = _rng(), building.Network({"x": (1, 2, 8, 10)})
    x = network.own("p.in0", "u8", -2, 2)
    y = network.add(
        "p", kind, ["x"], (1, 2, 4, 5), [x],
        network.overlapped(x), kernel_shape=(3, 3), strides=(2, 2), ceil_mode=1,
        pads=(0, 0, 0, 0),
    )  # fmt: skip
    assert building.steps_apart(network.finish(y), rng.normal(size=(1, 2, 8, 10))) <= 1


@pytest.mark.parametrize(
    ("kind", "attributes", "shape"),
    [("GlobalAveragePool", {}, (2, 3, 1, 1)),
     ("ReduceMean", {"axes": (-1, 2), "keepdims": 0}, (2, 3))],
)  # fmt: skip
def test_means(building: Any, kind: str, attributes: Any, shape: Any) -> None:
    rng, network = _rng(), building.Network({"x": (2, 3, 5, 6)})
    y = network.add(
        "m", kind, ["x"], shape, [network.own("m.in0", "u8", -2, 2)],
        network.own("m.out0", "i16", -1, 1), **attributes,
    )  # fmt: skip
    assert building.steps_apart(network.finish(y), rng.normal(size=(2, 3, 5, 6))) <= 1


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize(
    ("x", "out", "top"),
    [("u8", "u8", 255 / 256), ("i8", "u16", 65535 / 65536), ("i16", "u16", 65535 / 65536),
     ("i16", "i8", 1.0), ("u8", "i16", 0.9)],
)  # fmt: skip
def test_softmax(building: Any, axis: int, x: str, out: str, top: float) -> None:
    rng, network = _rng(), building.Network({"x": (2, 6, 10)})
    y = network.add(
        "s", "Softmax", ["x"], (2, 6, 10), [network.own("s.in0", x, -6, 6)],
        network.own("s.out0", out, 0, top), axis=axis,
    )  # fmt: skip
    assert building.steps_apart(network.finish(y), rng.normal(size=(2, 6, 10)) * 3) <= 1


@pytest.mark.parametrize(("x", "out"), [("u8", "u8"), ("i8", "i8"), ("i16", "i16"), ("u16", "u8")])
def test_layer_normalization(building: Any, x: str, out: str) -> None:
    rng, network = _rng(), building.Network({"x": (4, 32)})
    gamma, beta = rng.normal(size=32).astype(np.float32), rng.normal(size=32).astype(np.float32)
    y = network.add(
        "n", "LayerNormalization",
        ["x", network.parameter("gamma", gamma), network.parameter("beta", beta)], (4, 32),
        [network.own("n.in0", x, -3, 3), building.FREE, building.FREE],
        network.own("n.out0", out, -5, 5), axis=-1, epsilon=1e-5,
    )  # fmt: skip
    # 16-bit outputs resolve the 14 bits of the normalized value: 5 * 2**15 / 5 / 2**14 = 2 steps.
    limit = 2 if out == "i16" else 1
    assert building.steps_apart(network.finish(y), rng.normal(size=(4, 32))) <= limit


def test_pad_value_becomes_an_integer(building: Any) -> None:
    rng, network = _rng(), building.Network({"x": (1, 2, 3)})
    x = network.own("p.in0", "u8", -1, 2)
    operands = ["x", network.parameter("pads", np.array([0, 1, 2, 0, 0, 1])),
                network.parameter("value", np.float32(0.5))]  # fmt: skip
    slots = [x, building.FREE, building.FREE]
    y = network.add("p", "Pad", operands, (1, 3, 6), slots, network.overlapped(x))
    graph = network.finish(y)
    assert building.steps_apart(graph, rng.uniform(-1, 2, (1, 2, 3))) == 0
    scale, zero = network.rows["p.in0"].scale[0], network.rows["p.in0"].zero_point[0]
    assert building.lowered(graph).array("p.value") == round(0.5 / scale) + zero


def test_movement_is_exact(building: Any) -> None:
    rng, network = _rng(), building.Network({"x": ("N", 4, 3)})
    x = network.own("t.in0", "i8", -1, 1)
    same = network.overlapped(x)
    free = building.FREE
    y = network.add("t", "Transpose", ["x"], (3, 4, "N"), [x], same)
    y = network.add("u", "Transpose", [y], ("N", 3, 4), [same], same, perm=(2, 0, 1))
    y = network.add("f", "Flatten", [y], ("N", 12), [same], same, axis=1)
    indices = network.parameter("indices", np.array([3, 0, 7]))
    y = network.add("g", "Gather", [y, indices], ("N", 3), [same, free], same, axis=1)
    ends = [network.parameter("starts", np.array([0])), network.parameter("ends", np.array([2])),
            network.parameter("axes", np.array([1]))]  # fmt: skip
    y = network.add("s", "Slice", [y, *ends], ("N", 2), [same, free, free, free], same)
    y = network.add("c", "Concat", [y, y], ("N", 4), [same, same], same, axis=1)
    assert building.steps_apart(network.finish(y), rng.uniform(-1, 1, (5, 4, 3))) == 0


def test_asymmetric_weight_is_refused(building: Any) -> None:
    network = building.Network({"x": (1, 4)})
    weight = np.ones((4, 2), np.float32)
    x, w = network.own("l.in0", "u8", 0, 1), network.own("l.in1", "u8", -1, 2)
    operands = ["x", network.parameter("w", weight)]
    out = network.own("l.out0", "u8", 0, 9)
    y = network.add("l", "quantable.Linear", operands, (1, 2), [x, w], out)
    with pytest.raises(UnsupportedError, match="expected a symmetric weight"):
        building.lowered(network.finish(y))


def test_split_and_squeeze_are_exact(building: Any) -> None:
    rng, network = _rng(), building.Network({"x": ("N", 5, 1, 3)})
    x = network.own("s.in0", "u8", -1, 1)
    same, free = network.overlapped(x), building.FREE
    sizes = network.parameter("sizes", np.array([2, 3]))
    parts = [network.editor.add_value(n, DType.FLOAT32, ("N", d, 1, 3)) for n, d in
             (("a", 2), ("b", 3))]  # fmt: skip
    network.editor.add_operation("s", "Split", ["x", sizes], parts, {"axis": 1})
    network.configs["s"] = OperationQuantizationConfig((x, free), (same, same))
    axes = network.parameter("axes", np.array([2]))
    y = network.add("q", "Squeeze", ["a", axes], ("N", 2, 3), [same, free], same)
    more = network.parameter("more", np.array([0]))
    z = network.add("u", "Unsqueeze", ["b", more], (1, "N", 3, 1, 3), [same, free], same)
    graph = network.finish(y, z)
    kinds = [op.kind for op in building.lowered(graph).operations]
    assert kinds[1:4] == ["Split", "Reshape", "Reshape"]
    assert building.steps_apart(graph, rng.uniform(-1, 1, (4, 5, 1, 3))) == 0


@pytest.mark.parametrize(
    ("kind", "shape", "attributes", "message"),
    [("MaxPool", (1, 1, 4, 4), {"kernel_shape": (2, 2), "auto_pad": "SAME_UPPER"}, "known dim"),
     ("LayerNormalization", (1, 4, 4, "W"), {"axis": -1}, "known dimensions"),
     ("Softmax", None, {}, "known rank"),
     ("ReduceMean", None, {}, "known rank"),
     ("Pad", (1, 4), {"mode": "reflect"}, "expected Pad mode 'constant'"),
     ("Flatten", ("N", "M", 4), {}, "at most one unknown dimension")],
)  # fmt: skip
def test_what_cannot_be_lowered_says_why(
    building: Any, kind: str, shape: Any, attributes: Any, message: str
) -> None:
    given = ("N", 1, "H", "W") if kind == "MaxPool" else shape or (1, 4)
    network = building.Network({"x": given})
    if shape is None:
        network.editor.values["x"] = replace(network.editor.values["x"], shape=None)
    x = network.own("o.in0", "u8", -1, 1)
    result = ("?a", "?b") if kind == "Flatten" else given
    y = network.add("o", kind, ["x"], result, [x], network.overlapped(x), **attributes)
    with pytest.raises(UnsupportedError, match=rf"'o' \({kind}.*{message}"):
        building.lowered(network.finish(y))
