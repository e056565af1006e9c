"""The memory plan: simulated byte for byte."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from quantable.ir import DType, Graph, Level, OptionError
from quantable.passes.plan import plan_memory
from quantable.passes.plan.plan_memory import PlanMemory
from quantable.passes.plan.storage import arena_buffers, border_values, largest_live_set


def _planned(planning: Any, graph: Graph, **options: Any) -> Graph:
    done: Graph = planning.after(graph, PlanMemory(**options))
    assert done.level is Level.PLANNED
    planning.assert_same_results(graph, done)
    planning.simulate_plan(done, planning.inputs_of(done))
    return done


def test_docstring_example(planning: Any) -> None:
    network = planning.Network(x=("N", 64))
    a = network.requantize("a", network.quantize("x.quantized", "x"))
    graph = network.finish(network.requantize("y.quantized", network.requantize("b", a)))
    plan = _planned(planning, graph).plan
    assert plan is not None
    assert (plan.arena_bytes, dict(plan.offsets)) == (64, {"a": 0, "b": 0})
    assert "arena of 64 bytes, a at 0, b at 0 (b overwrites a)" in (
        inspect.getdoc(plan_memory) or ""
    )


def test_border_is_not_in_the_arena(planning: Any) -> None:
    network = planning.Network(x=("N", 4, 4, 4))
    q = network.quantize("q", "x")
    c = network.conv("c", q, 4)
    v = network.reshape("v", q, ("N", 64))
    d = network.reshape("d", c, ("N", 64))
    s = network.sum("s", v, d)
    done = _planned(planning, network.finish(s, network.reshape("r", s, ("N", 8, 8))))
    assert border_values(done) >= {"x", "q", "s", "r"}
    assert done.plan is not None
    assert sorted(done.plan.offsets) == ["c", "d"]


def test_input_that_is_needed_later_is_not_overwritten(planning: Any) -> None:
    network = planning.Network(x=("N", 64))
    a = network.requantize("a", network.quantize("q", "x"))
    b = network.requantize("b", a)
    c = network.sum("c", a, b)
    plan = _planned(planning, network.finish(network.requantize("y", c))).plan
    assert plan is not None
    assert plan.arena_bytes == 128
    assert plan.offsets["a"] != plan.offsets["b"]
    assert plan.offsets["c"] == plan.offsets["a"]


def test_broadcast_and_wider_outputs_are_not_in_place(planning: Any) -> None:
    network = planning.Network(x=("N", 1, 64), z=("N", 2, 64))
    a = network.requantize("a", network.quantize("q", "x"))
    b = network.requantize("b", network.quantize("r", "z"))
    c = network.requantize("c", network.sum("s", a, b), DType.INT16)
    plan = _planned(planning, network.finish(network.requantize("y", c))).plan
    assert plan is not None
    assert plan.offsets["s"] == plan.offsets["b"] != plan.offsets["a"]
    assert plan.offsets["c"] != plan.offsets["s"]


def test_in_place_can_be_turned_off(planning: Any) -> None:
    network = planning.Network(x=("N", 64))
    a = network.requantize("a", network.quantize("q", "x"))
    graph = network.finish(network.requantize("y", network.requantize("b", a)))
    plan = _planned(planning, graph, in_place=False).plan
    assert plan is not None
    assert plan.arena_bytes == 128


def test_symbols_are_bound_and_reshapes_resolved(planning: Any) -> None:
    network = planning.Network(x=("N", 4, 6))
    y = network.reshape("y", network.quantize("q", "x"), ("N", 24))
    graph = network.finish(network.transpose("t", y, (1, 0)))
    done = planning.after(graph, PlanMemory(batch=3))
    assert all(isinstance(d, int) for v in done.values.values() for d in v.shape)
    assert done.shape("t") == (24, 3)
    assert done.array("y.s").tolist() == [3, 24]
    planning.simulate_plan(done, planning.inputs_of(done))


def test_batch_that_the_model_contradicts(planning: Any) -> None:
    network = planning.Network(x=("N", 4, 6))
    graph = network.finish(network.reshape("y", network.quantize("q", "x"), (1, 24)))
    assert planning.after(graph, PlanMemory()).shape("y") == (1, 24)
    with pytest.raises(OptionError, match=r"expected 48 elements.*\n.*batch=1"):
        planning.after(graph, PlanMemory(batch=2))
    with pytest.raises(OptionError, match="at least 1"):
        planning.after(graph, PlanMemory(batch=0))


def test_a_better_order_is_taken(planning: Any) -> None:
    # Both large branches before both means, as written; one after the other needs half.
    network = planning.Network(x=("N", 1, 16, 16))
    q = network.quantize("q", "x")
    wide = [network.conv(f"w{i}", q, 8) for i in range(2)]
    small = [network.mean(f"m{i}", w, (2, 3), keepdims=1) for i, w in enumerate(wide)]
    done = _planned(planning, network.finish(network.sum("y", *small)))
    order = [op.name for op in done.operations]
    assert order.index("op m0") < order.index("op w1")
    assert done.plan is not None
    assert done.plan.arena_bytes == 2048 + 16 + 8


def test_arena_is_not_below_the_largest_live_set(planning: Any) -> None:
    network = planning.Network(x=("N", 3, 8, 8))
    x = network.quantize("q", "x")
    for index in range(6):
        c = network.conv(f"c{index}", x, 3 + index % 2)
        x = network.conv(f"d{index}", network.requantize(f"r{index}", c), 3)
    done = _planned(planning, network.finish(x))
    assert done.plan is not None
    bound = largest_live_set(arena_buffers(done, done.operations), done.plan.alignment)
    assert done.plan.arena_bytes >= bound
    assert all(offset % done.plan.alignment == 0 for offset in done.plan.offsets.values())


def test_slices_pads_and_splits_have_shapes(planning: Any) -> None:
    network = planning.Network(x=("N", 9, 4))
    x = network.quantize("q", "x")
    ends = [network.constant(n, np.array(v)) for n, v in
            {"st": [-1], "en": [-(1 << 62)], "ax": [1], "sp": [-2]}.items()]  # fmt: skip
    s = network.add("s", "Slice", [x, *ends], ("N", 5, 4))
    sizes = network.constant("sizes", np.array([2, 3]))
    a, b = (network.editor.add_value(n, DType.UINT8, ("N", d, 4)) for n, d in (("a", 2), ("b", 3)))
    network.editor.add_operation("op split", "Split", [s, sizes], [a, b], {"axis": 1})
    pads = [network.constant("p", np.array([1, 0])), network.constant("v", np.uint8(9)),
            network.constant("pax", np.array([-2]))]  # fmt: skip
    p = network.add("p2", "Pad", [a, *pads], ("N", 3, 4), mode="constant")
    done = _planned(planning, network.finish(network.sum("y", p, b)))
    assert [done.shape(n) for n in ("s", "a", "b", "p2")] == [
        (1, 5, 4),
        (1, 2, 4),
        (1, 3, 4),
        (1, 3, 4),
    ]
