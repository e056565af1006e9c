"""The pass as a whole: its example, what it keeps, and what it refuses."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from quantable.ir import (
    Arithmetic,
    Granularity,
    Graph,
    InternalError,
    Level,
    Relation,
    State,
    UnsupportedError,
)
from quantable.passes.base import PassContext, run_pass
from quantable.passes.lower import lower_to_integer
from quantable.passes.lower.lower_to_integer import RULES, LowerToInteger

RNG = np.random.default_rng(7)


def _words(attributes: Mapping[str, object]) -> str:
    order = ("scale", "zero_point", "x_zero_point", "multiplier", "y_zero_point", "clamp_min",
             "clamp_max")  # fmt: skip
    return " ".join(f"{name}={attributes[name]}" for name in order if name in attributes)


def _text(graph: Graph) -> str:
    return " ".join(
        f"{op.outputs[0]} = {op.kind}({op.inputs[0]}) {{{_words(op.attributes)}}}"
        for op in graph.operations
    )


def test_docstring_example(building: Any) -> None:
    network = building.Network({"x": (1, 3)})
    x, y = network.own("a.in0", "u8", 0, 127.5), network.own("a.out0", "u8", -2.5, 61.25)
    relu = network.add("a", "Relu", ["x"], (1, 3), [x], y)
    graph = building.lowered(network.finish(relu))
    doc = inspect.getdoc(lower_to_integer) or ""
    found = re.search(r"After:\n(.*?)\n\n", doc, re.DOTALL)
    assert found is not None
    expected = " ".join(found[1].split()).replace("y.quantized", "a.y.quantized")
    assert _text(graph) == expected.replace("y = int", "a.y = int")


def _conv_relu(building: Any, fused: bool = True) -> Graph:
    network = building.Network({"x": ("N", 3, 6, 6)})
    weight = RNG.normal(size=(4, 3, 3, 3)).astype(np.float32)
    x = network.own("c.in0", "u8", -2, 2)
    w = network.weight("c.in1", weight, 0)
    b = network.bias("c.in2", x, w)
    end = network.own("r.out0", "u8", 0, 6)
    inside = network.overlapped(end) if fused else network.own("c.out0", "u8", -6, 6)
    bias = RNG.normal(size=4).astype(np.float32)
    operands = ["x", network.parameter("w", weight), network.parameter("b", bias)]
    y = network.add("c", "Conv", operands, ("N", 4, 6, 6), [x, w, b], inside, pads=(1, 1, 1, 1))
    relu = network.add("r", "Relu", [y], ("N", 4, 6, 6), [network.overlapped(inside)], end)
    return network.finish(relu)


@pytest.mark.parametrize(("fused", "kinds"), [
    (True, ["int.Quantize", "int.Conv", "int.Dequantize"]),
    (False, ["int.Quantize", "int.Conv", "int.Requantize", "int.Dequantize"]),
])  # fmt: skip
def test_fused_relu_becomes_a_clamp(building: Any, fused: bool, kinds: list[str]) -> None:
    graph = _conv_relu(building, fused)
    assert [op.kind for op in building.lowered(graph).operations] == kinds
    assert building.steps_apart(graph, RNG.normal(size=(2, 3, 6, 6))) <= 1


def test_names_and_sources_are_kept(building: Any) -> None:
    graph = building.lowered(_conv_relu(building, fused=False))
    assert graph.level is Level.INTEGER
    assert not graph.rows
    conv = graph.operation_by_name["c"]
    assert conv.outputs == ("c.y",)
    assert conv.inputs[:3] == ("x.quantized", "w", "b")
    assert conv.sources == ("node c",)
    assert graph.producers["r.y.quantized"].sources == ("node r",)
    fused = building.lowered(_conv_relu(building)).operation_by_name["c"]
    assert fused.sources == ("node c", "node r")


def test_same_bytes_twice(building: Any) -> None:
    graph = _conv_relu(building)
    first, second = building.lowered(graph), building.lowered(graph)
    assert first.history[-1].output_digest == second.history[-1].output_digest


def test_consumer_with_its_own_row_gets_a_requantize(building: Any) -> None:
    network = building.Network({"x": (2, 8)})
    x = network.own("a.in0", "u8", -1, 1)
    y = network.add("a", "Add", ["x", "x"], (2, 8), [x, _shared(x)],
                    network.own("a.out0", "u8", -2, 2))  # fmt: skip
    z = network.add("b", "Mul", [y, y], (2, 8),
                    [network.own("b.in0", "i16", -2, 2), network.own("b.in1", "u8", -2, 2)],
                    network.own("b.out0", "i16", -4, 4))  # fmt: skip
    graph = network.finish(z)
    kinds = [op.kind for op in building.lowered(graph).operations]
    assert kinds == ["int.Quantize", "int.Add", "int.Requantize", "int.Mul", "int.Dequantize"]
    assert building.steps_apart(graph, RNG.uniform(-1, 1, (2, 8))) <= 1


def _shared(config: Any) -> Any:
    """Return a slot that executes with the row of another one."""
    return replace(config, state=State.PASSIVE, relation=Relation.SHARED)


def test_all_operations_without_a_rule_are_listed(building: Any) -> None:
    network = building.Network({"x": (1, 3)})
    slot = [network.own("a.in0", "u8", -1, 1)]
    y = network.add("a", "Sinh", ["x"], (1, 3), slot, network.own("a.out0", "u8", -1, 1))
    z = network.add("b", "Cosh", [y], (1, 3), [building.FREE], network.own("b.out0", "u8", 0, 2))
    with pytest.raises(UnsupportedError, match=r"(?s)2 operations.*'a' \(Sinh.*'b' \(Cosh"):
        building.lowered(network.finish(z))


def test_float_slots_are_listed(building: Any) -> None:
    network = building.Network({"x": (1, 3), "z": (1, 3)})
    own = network.own("a.out0", "u8", 0, 1)
    y = network.add("a", "Relu", ["x"], (1, 3), [building.FREE], own)
    other = network.own("b.in0", "u8", -1, 1)
    w = network.add("b", "Relu", ["z"], (1, 3), [other], building.FREE)
    with pytest.raises(UnsupportedError, match=r"(?s)2 operations.*'a'.* in0.*'b'.* out0"):
        building.lowered(network.finish(y, w))


def test_row_without_a_scale_is_refused(building: Any) -> None:
    graph = _conv_relu(building, fused=False)
    row = graph.rows["r.out0"].cleared()
    relu = graph.operation_by_name["r"]
    out = replace(relu.config.outputs[0], state=State.INITIAL)
    graph = graph.with_operation(relu.with_slot("out", 0, out)).with_rows([row])
    with pytest.raises(UnsupportedError, match=r"(?s)'r'.* out0.*'r.out0' without a scale"):
        building.lowered(graph)


def test_concat_of_several_grids_is_brought_to_one(building: Any) -> None:
    network = building.Network({"a": (2, 3), "b": (2, 4)})
    slots = [network.own("c.in0", "u8", -1, 1), network.own("c.in1", "i16", -2, 2)]
    out = network.own("c.out0", "i8", -2, 2)
    graph = network.finish(network.add("c", "Concat", ["a", "b"], (2, 7), slots, out, axis=1))
    kinds = [op.kind for op in building.lowered(graph).operations]
    assert kinds.count("int.Requantize") == 2
    samples = RNG.uniform(-1, 1, (2, 3)), RNG.uniform(-2, 2, (2, 4))
    assert building.steps_apart(graph, *samples) <= 1


def test_value_of_an_overlapped_slot_stays_on_its_grid(building: Any) -> None:
    network = building.Network({"x": (2, 6)})
    x, other = network.own("f.in0", "u8", -1, 1), network.own("g.in0", "u8", -2, 2)
    y = network.add("f", "Flatten", ["x"], (2, 6), [x], network.overlapped(other))
    z = network.add("g", "Flatten", [y], (2, 6), [other], network.overlapped(other))
    graph = network.finish(z)
    kinds = [op.kind for op in building.lowered(graph).operations]
    assert kinds == ["int.Quantize", "Reshape", "int.Requantize", "Reshape", "int.Dequantize"]
    assert building.steps_apart(graph, RNG.uniform(-1, 1, (2, 6))) <= 1


def test_dequantized_operation_is_refused(building: Any) -> None:
    graph = _conv_relu(building).dequantized()
    with pytest.raises(UnsupportedError, match="found a dequantized one"):
        building.lowered(graph)


def test_table_without_runtime_is_refused(building: Any) -> None:
    network = building.Network({"x": (1, 3)})
    slot = [network.own("a.in0", "u8", -1, 1)]
    y = network.add("a", "Exp", ["x"], (1, 3), slot, network.own("a.out0", "u8", 0, 3))
    with pytest.raises(InternalError, match="needs a runtime"):
        run_pass(network.finish(y), LowerToInteger(), PassContext())


def test_every_rule_says_what_it_does() -> None:
    assert all((rule.__doc__ or "").startswith("Lower") for rule in RULES.values())


@pytest.mark.parametrize("exponent_bits", [0, 4])
def test_blocks_and_small_floats_are_refused(building: Any, exponent_bits: int) -> None:
    graph = _conv_relu(building)
    op = graph.quantable_operations[0]
    weight = op.config.inputs[1]
    if exponent_bits:
        changes = {"arithmetic": Arithmetic.FLOATING, "power_of_two": True}
        held = replace(
            weight, policy=replace(weight.policy, **changes), exponent_bits=exponent_bits
        )
    else:
        policy = replace(weight.policy, granularity=Granularity.PER_BLOCK)
        held = replace(weight, policy=policy, channel_axis=1, block_size=3)
    changed = graph.with_operation(op.with_slot("in", 1, held))
    with pytest.raises(UnsupportedError, match="expected a parameter of integers") as caught:
        run_pass(changed, LowerToInteger(), PassContext())
    assert "neither small floats nor blocks" in caught.value.help
