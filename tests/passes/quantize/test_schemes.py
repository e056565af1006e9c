"""Schemes that slots ask for: 4-bit operands, and 8 bits in first and last layers."""

from __future__ import annotations

import numpy as np
import pytest

FIRST = ("dispatch", "assign-configs")
SIMPLE = (*FIRST, "fuse-overlaps", "simplify-overlaps")
CHAIN = "a = Conv(x, w, b)\nr = Relu(a)\nc = Conv(r, w2, b2)\ny = Conv(c, w3, b3)"
RESIDUAL = """
    a = Conv(x, w, b)
    r = Relu(a)
    c = Conv(r, w2, b2)
    d = Conv(r, w3, b3)
    s = Add(d, r)
    e = Conv(c, w4, b4)
    t = Add(s, e)
    y = Conv(t, w5, b5)
"""
BOTH = ("c-w4a4", "onnxruntime-w4a4")


def config(graph, name, side="out", index=0):
    held = graph.operation_by_name[name].config
    return (held.inputs if side == "in" else held.outputs)[index]


def quantized(examples, text, target, passes=FIRST):
    graph = examples.network(text)
    return examples.after(graph, passes, examples.context_of(graph, target))


@pytest.mark.parametrize("target", ["c-w4a8", "onnxruntime-w4a8", *BOTH])
def test_weights_of_inner_layers_have_four_bits(target, examples):
    graph = quantized(examples, CHAIN, target)
    held = {name: config(graph, name, "in", 1) for name in ("a", "c", "y")}
    assert {name: c.bits for name, c in held.items()} == {"a": 8, "c": 4, "y": 8}
    assert (held["c"].quant_min, held["c"].quant_max, held["c"].observer) == (-7, 7, "mse")
    assert (held["a"].quant_min, held["a"].quant_max, held["a"].observer) == (-127, 127, "grid")
    assert all(c.channel_axis == 0 for c in held.values())


@pytest.mark.parametrize("target", BOTH)
def test_a_tensor_that_only_narrow_operations_read_is_made_narrow(target, examples):
    graph = quantized(examples, CHAIN, target, SIMPLE)
    assert [config(graph, "r").bits, config(graph, "c", "in").bits] == [4, 4]
    assert (config(graph, "r").quant_min, config(graph, "r").quant_max) == (0, 15)
    assert config(graph, "c", "in").row == "r.out0", "quantized once"


@pytest.mark.parametrize("target", BOTH)
def test_first_and_last_layers_read_eight_bits(target, examples):
    graph = quantized(examples, CHAIN, target)
    assert config(graph, "a", "in").bits == 8
    assert config(graph, "y", "in").bits == config(graph, "c").bits == 8


@pytest.mark.parametrize("target", BOTH)
def test_a_tensor_that_an_addition_reads_too_keeps_eight_bits(target, examples):
    graph = quantized(examples, RESIDUAL, target, SIMPLE)
    assert config(graph, "r").bits == config(graph, "s", "in", 1).bits == 8
    assert [config(graph, n, "in").bits for n in ("c", "d")] == [4, 4]
    assert config(graph, "d", "in").row == config(graph, "c", "in").row == "c.in0", "one row"
    assert config(graph, "c").bits == 4, "read by a convolution alone"
    assert config(graph, "d").bits == 8, "read by an addition alone"


def test_passive_and_aligned_operations_hand_on_what_is_asked_for(examples):
    text = """
        a = Conv(x, w, b)
        p = MaxPool(a)
        d = Relu(x)
        q = Concat(p, d)
        c = Conv(q, w2, b2)
        e = Conv(c, w3, b3)
        y = Conv(e, w4, b4)
    """
    graph = quantized(examples, text.replace("Relu(x)", "Conv(x, w5, b5)"), "c-w4a4")
    assert [config(graph, n).bits for n in ("a", "p", "d", "q")] == [4, 4, 4, 4]
    graph = quantized(examples, text, "c-w4a4")
    # The input of the network reaches c through no other compute operation: c is a first one.
    assert [config(graph, n).bits for n in ("a", "p", "d", "q")] == [8, 8, 8, 8]
    text = "a = Conv(x, w, b)\np = MaxPool(a)\nc = Conv(p, w2, b2)\ny = Add(c, p)\n"
    graph = quantized(examples, text + "z = Conv(y, w3, b3)", "c-w4a4")
    assert [config(graph, n).bits for n in ("a", "p")] == [8, 8]
    assert config(graph, "c", "in").bits == 4


def test_outputs_and_known_ranges_are_not_narrowed(examples):
    text = "a = Conv(x, w, b)\nc = Conv(a, w2, b2)\nd = Conv(c, w3, b3)"
    graph = examples.network(text, outputs=("a", "d"))
    done = examples.after(graph, FIRST, examples.context_of(graph, "c-w4a4"))
    assert (config(done, "a").bits, config(done, "c", "in").bits) == (8, 4)
    text = "q = Conv(x, w, b)\ns = Softmax(q)\nm = MatMul(s, q)\ny = Conv(m, w2, b2)"
    graph = quantized(examples, text, "c-w4a4")
    assert (config(graph, "s").bits, config(graph, "m", "in", 0).bits) == (8, 8)
    assert config(graph, "m", "in", 1).bits == 4
    assert graph.rows["s.out0"].scale == (2.0**-8,)


@pytest.mark.parametrize("target", ["c-per-tensor", "onnxruntime-per-tensor"])
def test_one_scale_a_weight(target, examples):
    graph = quantized(examples, CHAIN, target, (*SIMPLE, "calibrate", "passive-parameters", "bake"))
    assert [config(graph, n, "in", 1).channel_axis for n in ("a", "c", "y")] == [None] * 3
    assert len(graph.rows["c.in1"].scale) == len(graph.rows["c.in2"].scale) == 1


@pytest.mark.parametrize("target", BOTH)
def test_four_bit_weights_are_baked_packed(target, examples):
    graph = quantized(examples, CHAIN, target, examples.CHAIN)
    baked = graph.operation_by_name["c"].baked_parameter(1)
    assert baked.content.dtype.value == "i4"
    assert baked.content.size_bytes == -(-baked.content.element_count // 2)
    integers = graph.store.get(baked.content)
    assert np.abs(integers).max() <= 7
