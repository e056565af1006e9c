"""Layouts: no transposes where none are needed, and the same bits."""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantable.ir import DType, Graph, Value
from quantable.passes.base import PassContext, run_pass
from quantable.passes.plan import assign_layout
from quantable.passes.plan.assign_layout import AssignLayout
from quantable.passes.plan.plan_memory import PlanMemory


def _done(planning: Any, graph: Graph) -> Graph:
    done: Graph = planning.after(graph, AssignLayout())
    planning.assert_same_results(graph, done)
    again: Graph = planning.after(done, AssignLayout())
    assert again.operations == done.operations, "not idempotent"
    return done


def _text(graph: Graph) -> str:
    lines = []
    for op in graph.operations:
        if op.kind in ("int.Quantize", "int.Dequantize"):
            continue
        y = graph.values[op.outputs[0]]
        perm = f" {{perm={list(op.ints_attribute('perm'))}}}" if "perm" in op.attributes else ""
        layout = ' {layout="NHWC"}' if "layout" in op.attributes else ""
        shape = ", ".join(str(dim) for dim in y.shape or ())
        lines.append(f"-> {op.kind}{perm}{layout} -> {y.name}: {y.dtype.value}[{shape}]")
    return " ".join(lines)


def _example(planning: Any) -> Graph:
    network = planning.Network(real=("N", 4, 4, 2))
    x = network.quantize("x", "real")
    a = network.transpose("a", x, (0, 3, 1, 2))
    b = network.max_pool("b", a)
    return network.finish(network.transpose("y", b, (0, 2, 3, 1)))


def test_docstring_example(planning: Any) -> None:
    doc = inspect.getdoc(assign_layout) or ""
    found = re.search(r"Before:\n(.*?)\nAfter:\n(.*?)\n\n", doc, re.DOTALL)
    assert found is not None
    graph = _example(planning)
    start = "x: u8[N, 4, 4, 2] "
    assert start + _text(graph) == " ".join(found[1].split())
    assert start + _text(_done(planning, graph)) == " ".join(found[2].split())


def test_network_interface_keeps_its_transpose(planning: Any) -> None:
    network = planning.Network(x=("N", 3, 6, 6))
    y = network.conv("c", network.quantize("q", "x"), 4)
    done = _done(planning, network.finish(network.conv("d", y, 2)))
    assert planning.kinds(done) == ["Transpose", "int.Conv", "int.Conv", "Transpose"]
    assert done.producers["q.nhwc"].ints_attribute("perm") == (0, 2, 3, 1)


def test_elementwise_operations_follow(planning: Any) -> None:
    network = planning.Network(x=("N", 6, 6, 3))
    x = network.transpose("t", network.quantize("q", "x"), (0, 3, 1, 2))
    c = network.conv("c", x, 3)
    bias = network.constant("k", np.arange(3).reshape(3, 1, 1), DType.UINT8)
    s = network.sum("s", network.sum("s0", c, x), bias)
    pads = network.constant("pads", np.array([0, 2, 0, 0, 0, 1, 0, 0]))
    value = network.constant("v", np.uint8(7))
    p = network.add("p", "Pad", [s, pads, value], ("N", 6, 6, 6), mode="constant")
    starts, ends = (
        network.constant("st", np.array([0, 1])),
        network.constant("en", np.array([9, 6])),
    )
    axes, steps = (
        network.constant("ax", np.array([-1, 2])),
        network.constant("sp", np.array([2, 1])),
    )
    w = network.add("w", "Slice", [p, starts, ends, axes, steps], ("N", 6, 5, 3))
    j = network.add("j", "Concat", [w, w], ("N", 12, 5, 3), axis=1)
    y = network.mean("m", j, (2, 3), keepdims=1)
    done = _done(planning, network.finish(network.reshape("r", y, ("N", 12))))
    assert "Transpose" not in planning.kinds(done)


def test_split_gather_and_dropping_mean_follow(planning: Any) -> None:
    network = planning.Network(x=("N", 4, 6, 6))
    c = network.conv("c", network.quantize("q", "x"), 4)
    picked = network.constant("i", np.array([3, 0, 1, 2]))
    g = network.add("g", "Gather", [c, picked], ("N", 4, 6, 6), axis=1)
    a, b = (network.editor.add_value(n, DType.UINT8, ("N", 2, 6, 6)) for n in "ab")
    network.editor.add_operation("op split", "Split", [g], [a, b], {"axis": 1, "num_outputs": 2})
    s = network.sum("s", a, b)
    done = _done(planning, network.finish(network.mean("m", s, (2, 3), keepdims=0)))
    assert planning.kinds(done).count("Transpose") == 1
    assert done.operation_by_name["op m"].ints_attribute("axes") == (1, 2)


def test_tokens_of_a_transformer_need_no_transpose(planning: Any) -> None:
    network = planning.Network(x=("N", 6, 6, 3))
    x = network.transpose("t", network.quantize("q", "x"), (0, 3, 1, 2))
    c = network.conv("c", x, 4)
    flat = network.reshape("f", c, ("N", 4, 36))
    done = _done(planning, network.finish(network.transpose("y", flat, (0, 2, 1))))
    assert planning.kinds(done) == ["int.Conv", "Reshape"]


def test_a_reshape_that_allows_zeros_keeps_a_symbolic_batch(planning: Any) -> None:
    network = planning.Network(x=("N", 3, 6, 6))
    pooled = network.mean("m", network.conv("c", network.quantize("q", "x"), 4), (2, 3), keepdims=1)
    target = network.constant("s", np.array([-1, 4]))
    flat = network.add("f", "Reshape", [pooled, target], ("N", 4), allowzero=1)
    done = _done(planning, network.finish(flat))
    run_pass(done, PlanMemory(), PassContext())  # which took 0 of the target (0, 4) for a size


@pytest.mark.parametrize(
    ("pads", "value", "merged"),
    [((0, 0, 1, 2, 0, 0, 0, 1), 3, True), ((0, 0, 1, 2, 0, 0, 0, 1), 0, False),
     ((0, 1, 1, 1, 0, 0, 0, 1), 3, False), ((0, 0, -1, 1, 0, 0, 0, 1), 3, False)],
)  # fmt: skip
def test_pad_before_conv(planning: Any, pads: tuple[int, ...], value: int, merged: bool) -> None:
    network = planning.Network(x=("N", 3, 6, 6))
    x = network.quantize("q", "x")
    operands = [x, network.constant("p", np.array(pads)), network.constant("v", np.uint8(value))]
    shape = ("N", *(d + pads[i] + pads[4 + i] for i, d in zip((1, 2, 3), (3, 6, 6), strict=True)))
    padded = network.add("padded", "Pad", operands, shape, mode="constant")
    done = _done(planning, network.finish(network.conv("c", padded, 2)))
    assert ("Pad" not in planning.kinds(done)) == merged
    if merged:
        assert done.operation_by_name["op c"].ints_attribute("pads") == (2, 3, 1, 2)


def test_a_pad_that_repeats_the_edge_stays_before_a_convolution(planning: Any) -> None:
    """It was merged as if it padded with the zero point."""
    network = planning.Network(x=("N", 3, 6, 6))
    pads = network.constant("p", np.array((0, 0, 1, 1, 0, 0, 1, 1)))
    operands = [network.quantize("q", "x"), pads, network.constant("v", np.uint8(3))]
    padded = network.add("padded", "Pad", operands, ("N", 3, 8, 8), mode="edge")
    done = _done(planning, network.finish(network.conv("c", padded, 2)))
    assert "Pad" in planning.kinds(done)


def test_unknown_rank_is_declined(planning: Any) -> None:
    graph = _example(planning)
    values = {**graph.values, "a": Value("a", DType.UINT8, None)}
    from dataclasses import replace

    context = PassContext()
    unknown = replace(graph, values=values)
    done = run_pass(unknown, AssignLayout(), context)
    assert done.operations == unknown.operations
    assert context.remarks == [("assign-layout", "value 'a'", "its rank is not known")]


def _step(network: Any, data: Any, index: int, x: str) -> str:
    """Add a random operation behind a value of rank 4."""
    shape = network.shape(x)
    choice = data.draw(st.sampled_from(
        ["conv", "requantize", "sum", "transpose", "reshape", "mean", "pool", "concat", "pad"]
    ))  # fmt: skip
    name = f"v{index}"
    if choice == "conv" and min(shape[2:]) >= 1:
        return str(network.conv(name, x, data.draw(st.integers(1, 4))))
    if choice == "pool" and min(shape[2:]) >= 2:
        return str(network.max_pool(name, x))
    if choice == "transpose":
        return str(network.transpose(name, x, data.draw(st.permutations(range(4)))))
    if choice == "reshape":
        return str(network.reshape(name, x, (shape[0], shape[1] * shape[2], 1, shape[3])))
    if choice == "mean":
        axes = sorted(data.draw(st.sets(st.integers(0, 3), min_size=1, max_size=2)))
        return str(network.mean(name, x, axes, keepdims=1))
    if choice == "concat":
        axis = data.draw(st.integers(0, 3))
        joined = [d * 2 if i == axis else d for i, d in enumerate(shape)]
        return str(network.add(name, "Concat", [x, x], joined, axis=axis))
    if choice == "pad":
        pads = data.draw(st.lists(st.integers(0, 1), min_size=8, max_size=8))
        operands = [x, network.constant(f"{name}.p", np.array(pads)),
                    network.constant(f"{name}.v", np.uint8(3))]  # fmt: skip
        out = [d + pads[i] + pads[4 + i] for i, d in enumerate(shape)]
        return str(network.add(name, "Pad", operands, out, mode="constant"))
    if choice == "sum":
        return str(network.sum(name, x, x))
    return str(network.requantize(name, x))


@settings(max_examples=60, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(data=st.data())
def test_random_networks_keep_their_bits(planning: Any, data: Any) -> None:
    network = planning.Network(x=(2, 3, 4, 5))
    values = [network.quantize("q", "x")]
    for index in range(data.draw(st.integers(1, 8))):
        x = values[data.draw(st.integers(max(0, len(values) - 2), len(values) - 1))]
        values.append(_step(network, data, index, x))
    done = planning.after(network.finish(*dict.fromkeys(values[-2:])), AssignLayout())
    planning.assert_same_results(network.editor.finish(), done)
    planned = planning.after(done, PlanMemory())
    planning.assert_same_results(done, planned)
    planning.simulate_plan(planned, planning.inputs_of(planned))
