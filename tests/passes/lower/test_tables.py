"""Tables: equal to the simulation with 8 bits, close to the function with 16."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quantable.ir import UnsupportedError
from quantable.passes.lower.tables import UNARY_KINDS

PLAIN = ("Abs", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Neg",
         "Reciprocal", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Tanh")  # fmt: skip


def _graph(building: Any, kind: str, x: str, out: str, low: float, high: float) -> Any:
    network = building.Network({"x": (1, 4096)})
    slots = [network.own("f.in0", x, low, high)]
    y = network.add("f", kind, ["x"], (1, 4096), slots, network.own("f.out0", out, -4, 4))
    return network.finish(y)


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize(("x", "out"), [("u8", "i8"), ("i8", "u8"), ("u8", "i16")])
def test_table_equals_the_simulation(building: Any, kind: str, x: str, out: str) -> None:
    low = 0.25 if kind in ("Sqrt", "Reciprocal") else -4
    graph = _graph(building, kind, x, out, min(low, -4), 4)
    assert building.steps_apart(graph, np.linspace(low, 4, 4096)[None]) == 0


@pytest.mark.parametrize("kind", ["Abs", "Erf", "Exp", "Gelu", "HardSwish", "LeakyRelu", "Sigmoid",
                                  "Tanh"])  # fmt: skip
@pytest.mark.parametrize(("x", "out"), [("i16", "i16"), ("i16", "u8"), ("u16", "i16")])
def test_interpolated_table_is_close(building: Any, kind: str, x: str, out: str) -> None:
    # Up to 1.36, behind which Exp leaves the output's range. There f'' <= 4: the chord is off by
    # f'' * h**2 / 8 = 4 / 64**2 / 8 / (8 / 2**16) = 1 step; knots and interpolation round by half
    # a step each.
    graph = _graph(building, kind, x, out, -4, 4)
    limit = 2 if out == "i16" else 1
    assert building.steps_apart(graph, np.linspace(-4, 1.36, 4096)[None]) <= limit


def test_interpolated_table_has_its_knots(building: Any) -> None:
    integer = building.lowered(_graph(building, "Exp", "i16", "i16", -4, 4))
    table = integer.array("f.table")
    assert (table.dtype, table.shape) == (np.dtype(np.int32), (513,))
    assert table.min() >= -(1 << 15)
    assert table.max() < 1 << 15


def test_undefined_and_infinite_results_are_clamped(building: Any) -> None:
    integer = building.lowered(_graph(building, "Log", "i8", "i8", -4, 4))
    table = integer.array("f.table")
    (op,) = [op for op in integer.operations if op.kind == "int.Table"]
    (border,) = [op for op in integer.operations if op.kind == "int.Quantize"]
    zero = integer.producers["f.y"].int_attribute("zero_point")
    at_zero = border.int_attribute("zero_point") + 128
    assert op.inputs[0] == "x.quantized"
    assert (table[:at_zero] == zero).all()
    assert table[at_zero] == -128
    assert table[255] > zero


def test_exponent_is_a_constant_of_one_element(building: Any) -> None:
    network = building.Network({"x": (1, 64)})
    slots = [network.own("p.in0", "u8", 0, 2), building.FREE]
    out = network.own("p.out0", "u8", 0, 8)
    square = network.parameter("two", np.float32(3))
    graph = network.finish(network.add("p", "Pow", ["x", square], (1, 64), slots, out))
    assert building.steps_apart(graph, np.linspace(0, 2, 64)[None]) == 0


def test_function_of_two_tensors_is_refused(building: Any) -> None:
    network = building.Network({"x": (1, 4), "z": (1, 4)})
    slots = [network.own("d.in0", "u8", 0, 2), network.own("d.in1", "u8", 0, 2)]
    out = network.own("d.out0", "u8", 0, 8)
    y = network.add("d", "Div", ["x", "z"], (1, 4), slots, out)
    with pytest.raises(UnsupportedError, match="expected one input that is not constant, found 2"):
        building.lowered(network.finish(y))


def test_wide_constant_of_a_function_is_refused(building: Any) -> None:
    network = building.Network({"x": (1, 4)})
    slots = [network.own("d.in0", "u8", 0, 2), building.FREE]
    y = network.add("d", "PRelu", ["x", network.parameter("k", np.ones(4, np.float32))], (1, 4),
                    slots, network.own("d.out0", "u8", 0, 8))  # fmt: skip
    with pytest.raises(UnsupportedError, match="constant of one element in slot 1"):
        building.lowered(network.finish(y))


def test_kinds_are_sorted() -> None:
    assert list(UNARY_KINDS) == sorted(set(UNARY_KINDS))
