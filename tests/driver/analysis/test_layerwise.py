"""One operation at a time, with all that the target computes with it."""

from __future__ import annotations

import numpy as np
import pytest

from quantable.driver import runtime
from quantable.driver.analysis.forms import Form, alone, rerun
from quantable.driver.analysis.groups import Group, groups
from quantable.driver.analysis.layerwise import Layerwise, without
from quantable.driver.analysis.subject import Subject, pairs
from quantable.ir import Graph, QuantableOperation, State


@pytest.fixture(scope="module")
def measured(resnet8_subject: Subject) -> Layerwise:
    found = Layerwise(resnet8_subject)
    for pair in pairs(resnet8_subject):
        found.add(pair)
    return found


def only(graph: Graph, name: str) -> Graph:
    """Quantize one operation in the naive way: every other one is dequantized."""
    others = [op for op in graph.quantable_operations if op.name != name]
    return graph.with_operations(op.dequantize() for op in others)


def test_a_fused_addition_is_at_fault_where_the_naive_way_sees_nothing(
    resnet8_subject: Subject, measured: Layerwise
) -> None:
    """Every slot of the addition is overlapped: its neighbours' slots quantize its tensors."""
    graph = resnet8_subject.graph
    share = next(s for s in measured.shares if s.group.kinds == ("Add", "Relu"))
    sample = next(iter(resnet8_subject.samples))
    naive = Form(only(graph, share.group.name)).run(sample)
    real = resnet8_subject.float_form.run(sample)
    (name,) = resnet8_subject.measured
    assert np.array_equal(naive[name], real[name])
    sqnr = share.alone[name].sums.sqnr_db
    assert sqnr is not None
    assert 20 < sqnr < 60


def test_every_group_costs_something_and_less_than_all_together(
    resnet8_subject: Subject, measured: Layerwise
) -> None:
    (name,) = resnet8_subject.measured
    assert len(measured.shares) == 14
    facts = measured.facts()
    assert all(20 < float(str(share["alone_db"])) < 70 for share in facts)
    assert all(not share.alone[name].is_equal for share in measured.shares)


def test_a_group_alone_is_what_the_target_computes_with_it(resnet8_subject: Subject) -> None:
    """Conv + Relu on float inputs that lie on the grid: the quantized network's own numbers."""
    graph = resnet8_subject.graph
    share = next(
        g for g in groups(graph) if g.kinds == ("Conv", "Relu") and _reads_quantized(g, graph)
    )
    sample = next(iter(resnet8_subject.samples))
    quantized = resnet8_subject.quantized_form.run(sample)
    form = Form(alone(graph, share))
    again = rerun(quantized, share.operations, form, resnet8_subject.quantized_form)
    assert again == {}


def _reads_quantized(group: Group, graph: Graph) -> bool:
    first = graph.operation_by_name[group.name]
    assert isinstance(first, QuantableOperation)
    return first.config.inputs[0].state is State.OVERLAPPED


def test_leaving_out_everything_is_the_float_network(resnet8_subject: Subject) -> None:
    for pair in pairs(resnet8_subject):
        left = without(resnet8_subject, pair, resnet8_subject.groups)
        assert all(np.array_equal(left[name], pair.real[name]) for name in pair.real)


def test_running_operation_by_operation_is_running_the_graph(
    digits_subject: Subject,
) -> None:
    graph = digits_subject.graph
    for sample in digits_subject.samples:
        whole = runtime.reference(graph).run(sample)
        parts = digits_subject.quantized_form.run(sample)
        assert all(np.array_equal(parts[name], whole[name]) for name in whole)
