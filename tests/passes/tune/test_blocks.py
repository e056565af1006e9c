"""Blocks: every operation once, in order, cut where the network is narrow or too long."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantable.passes.subgraph import subgraph
from quantable.passes.tune.blocks import blocks, borders

RESIDUAL = """
    a = Conv(x, w, b)
    r = Relu(a)
    c = Conv(r, w2, b2)
    d = Conv(c, w3, b3)
    s = Add(d, r)
    e = Conv(s, w4, b4)
    f = Relu(e)
"""


def test_a_residual_block_is_cut_only_where_it_is_long(examples):
    graph = examples.network(RESIDUAL)
    assert blocks(graph, 1) == [("a", "r"), ("c",), ("d", "s"), ("e", "f")]
    assert blocks(graph, 2) == [("a", "r"), ("c", "d", "s", "e", "f")]
    assert borders(graph, 2) == ["r", "s", "f"]
    assert blocks(graph, 4) == [tuple(op.name for op in graph.operations)]


def test_a_network_that_is_never_narrow_is_cut_by_size(examples):
    graph = examples.network("""
        a = Conv(x, w, b)
        c = Conv(a, w2, b2)
        d = Conv(c, w3, b3)
        e = Conv(d, w4, b4)
        f = Conv(e, w5, b5)
        s = Add(f, x)
    """)
    assert blocks(graph, 2) == [("a", "c"), ("d", "e", "f", "s")]
    assert len(blocks(graph, 3)) == 1


def test_operations_without_weights_behind_the_last_layer_belong_to_it(examples):
    graph = examples.network("a = Conv(x, w, b)\n r = Relu(a)\n t = Softmax(r)")
    assert blocks(graph, 1) == [("a", "r", "t")]


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 9), st.lists(st.sampled_from(["Conv", "Relu", "Add"]), min_size=1, max_size=9)
)
def test_blocks_hold_every_operation_in_order(examples, size, kinds):
    lines, last = [], "x"
    for number, kind in enumerate(kinds):
        operands = {"Conv": f"{last}, w, b", "Relu": last, "Add": f"{last}, x"}[kind]
        lines.append(f"o{number} = {kind}({operands})")
        last = f"o{number}"
    graph = examples.network("\n".join(lines))
    found = blocks(graph, size)
    assert [name for block in found for name in block] == [op.name for op in graph.operations]
    assert all(subgraph(graph, block).outputs for block in found)


@pytest.mark.parametrize("name", ["resnet8", "dscnn_kws"])
def test_blocks_of_real_networks_are_narrow(real_case, name):
    graph = real_case(name).graph
    found = blocks(graph, 4)
    assert len(found) > 1
    for block in found[:-1]:
        assert len(subgraph(graph, block).outputs) == 1
