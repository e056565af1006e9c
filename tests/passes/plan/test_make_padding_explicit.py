"""Explicit padding: the same bits, for targets whose kernels ask for it."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantable.ir import DType, Graph
from quantable.passes.base import PassContext, run_pass
from quantable.passes.plan import make_padding_explicit
from quantable.passes.plan.assign_layout import AssignLayout
from quantable.passes.plan.make_padding_explicit import MakePaddingExplicit
from quantable.passes.plan.plan_memory import PlanMemory
from quantable.targets import load_target

X86 = PassContext(target=load_target("x86-vnni"))


def _network(planning: Any, pads: tuple[int, ...], shape: tuple[object, ...] = (4, 4, 2)) -> Graph:
    network = planning.Network(real=("N", *shape))
    x = network.transpose("t", network.quantize("x", "real"), (0, 3, 1, 2))
    y = network.transpose("y", network.conv("c", x, 2, pads), (0, 2, 3, 1))
    placed: Graph = planning.after(network.finish(y), AssignLayout())
    return placed


def _text(graph: Graph, start: str) -> str:
    lines = [start]
    for op in graph.operations:
        if op.kind in ("int.Quantize", "int.Dequantize"):
            continue
        facts = f" {{pads={list(op.ints_attribute('pads'))}}}" if op.kind == "int.Conv" else ""
        if op.kind == "Pad":
            pads, value = (graph.array(name) for name in op.inputs[1:3])
            facts = f" {{{pads.tolist()}, {int(value)}}}"
        y = graph.values[op.outputs[0]]
        shape = ", ".join(str(dim) for dim in y.shape or ())
        name = "y" if op.kind == "int.Conv" else y.name
        lines.append(f"-> {op.kind}{facts} -> {name}: {y.dtype.value}[{shape}]")
    return " ".join(lines)


def test_docstring_example(planning: Any) -> None:
    doc = inspect.getdoc(make_padding_explicit) or ""
    found = re.search(r"Before .*?:\n(.*?)\nAfter:\n(.*?)\n\n", doc, re.DOTALL)
    assert found is not None
    graph = _network(planning, (1, 1, 1, 1))
    start = "x: u8[N, 4, 4, 2]"
    assert _text(graph, start) == " ".join(found[1].split())
    done = run_pass(graph, MakePaddingExplicit(), X86)
    assert _text(done, start) == " ".join(found[2].split())
    planning.assert_same_results(graph, done)


@pytest.mark.parametrize("context", [PassContext(), PassContext(target=load_target("c-portable"))])
def test_kernels_with_borders_keep_their_padding(planning: Any, context: PassContext) -> None:
    graph = _network(planning, (1, 1, 1, 1))
    assert run_pass(graph, MakePaddingExplicit(), context).operations == graph.operations


def test_what_is_not_padded_or_not_channels_last_stays(planning: Any) -> None:
    unpadded = _network(planning, (0, 0, 0, 0))
    assert run_pass(unpadded, MakePaddingExplicit(), X86).operations == unpadded.operations
    network = planning.Network(real=("N", 2, 4, 4))
    planar = network.finish(network.conv("c", network.quantize("x", "real"), 2))
    assert run_pass(planar, MakePaddingExplicit(), X86).operations == planar.operations


def test_a_padded_convolution_keeps_its_layout_when_layouts_are_assigned_again(
    planning: Any,
) -> None:
    """The Pad is channels last: it must not be merged as if it were planar."""
    done = run_pass(_network(planning, (1, 1, 1, 1)), MakePaddingExplicit(), X86)
    again = planning.after(done, AssignLayout())
    planning.assert_same_results(done, again)
    assert planning.kinds(again) == ["Pad", "int.Conv"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pads=st.tuples(*[st.integers(0, 3)] * 4), size=st.tuples(*[st.integers(3, 6)] * 2))
def test_any_padding_gives_the_same_bits(
    planning: Any, pads: tuple[int, ...], size: tuple[int, ...]
) -> None:
    graph = _network(planning, pads, (*size, 2))
    done = run_pass(graph, MakePaddingExplicit(), X86)
    assert (planning.kinds(done) == ["Pad", "int.Conv"]) == any(pads)
    planning.assert_same_results(graph, done)
    planned = run_pass(done, PlanMemory(), X86)
    planning.simulate_plan(planned, planning.inputs_of(planned))
    assert planned.plan is not None
    assert planned.plan.alignment == 64
    assert all(offset % 64 == 0 for offset in planned.plan.offsets.values())
    padded = [done.values[op.outputs[0]] for op in done.operations if op.kind == "Pad"]
    assert all(value.dtype is DType.UINT8 for value in padded)
