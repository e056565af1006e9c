"""Assigning configs: schemes, tails, constants, fixed ranges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from quantable.ir import OptionError, Relation, State
from quantable.passes.base import PassContext, run_pass
from quantable.passes.quantize.assign_configs import AssignConfigs

FIRST = ("dispatch", "assign-configs")


def config(graph, name, side="out", index=0):
    held = graph.operation_by_name[name].config
    return (held.inputs if side == "in" else held.outputs)[index]


def assigned(examples, text, target="c-portable", **parameters):
    graph = examples.network(text, **parameters)
    return examples.after(graph, FIRST, examples.context_of(graph, target))


def test_tail_tensors_get_sixteen_bits_on_integer_targets(examples):
    graph = assigned(
        examples, "c = Conv(x, w, b)\nd = Conv(c, w2, b2)\nr = Relu(d)\ny = Softmax(r)"
    )
    assert config(graph, "c").bits == 8
    assert [config(graph, n).bits for n in ("d", "r", "y")] == [16, 16, 16]
    assert config(graph, "r", "in").same_scheme(config(graph, "d"))
    assert graph.rows["y.out0"].scale == (2.0**-16,)
    assert config(graph, "y").state is State.ACTIVATED


def test_tail_tensors_stay_float_for_onnxruntime(examples):
    graph = assigned(
        examples, "c = Conv(x, w, b)\nd = Conv(c, w2, b2)\ny = Softmax(d)", "onnxruntime"
    )
    assert config(graph, "c").state is State.INITIAL
    assert config(graph, "d").state is State.FP32
    assert config(graph, "d", "in").state is State.INITIAL


def test_softmax_before_a_matrix_product_has_eight_bits(examples):
    graph = assigned(examples, "s = Softmax(x)\ny = MatMul(s, v)")
    assert (config(graph, "s").bits, graph.rows["s.out0"].scale) == (8, (2.0**-8,))
    assert graph.rows["s.out0"].zero_point == (0,)


def test_constants_get_their_own_scheme(examples):
    text = "a = Add(x, k)\nc = Conv(a, w, b)\ny = Mul(c, k2)"
    graph = assigned(examples, text)
    assert (config(graph, "a", "in", 1).bits, config(graph, "y", "in", 1).bits) == (8, 16)
    assert config(graph, "a", "in", 1).policy.is_symmetric


def test_constants_of_onnxruntime_have_the_type_of_activations(examples):
    graph = assigned(
        examples, "c = Conv(x, w, b)\na = Add(c, k)\ny = Conv(a, w2, b2)", "onnxruntime"
    )
    constant = config(graph, "a", "in", 1)
    assert (constant.quant_min, constant.quant_max, constant.bits) == (0, 255, 8)


def test_slots_that_the_rule_or_the_type_excludes_stay_float(examples):
    graph = assigned(
        examples, "r = Reshape(x, shape)\nn = LayerNormalization(r, k, b)\ny = Pow(n, k2)"
    )
    for name, index in (("r", 1), ("n", 1), ("n", 2), ("y", 1)):
        assert config(graph, name, "in", index).relation is Relation.NONE


def test_a_grouped_transposed_convolution_is_quantized_per_tensor(examples):
    graph = examples.network("c = ConvTranspose(x, w, b)\ny = Conv(c, w2, b2)")
    op = graph.operation_by_name["c"]
    grouped = graph.with_operation(replace(op, attributes={"group": 2}))
    axes = []
    for item in (graph, grouped):
        done = examples.after(item, FIRST, examples.context_of(item, "onnxruntime"))
        axes.append(
            (config(done, "c", "in", 1).channel_axis, config(done, "c", "in", 2).channel_axis)
        )
    assert axes == [(1, 0), (None, None)]


def test_int8_activations_are_a_target_of_their_own(examples):
    graph = assigned(examples, "c = Conv(x, w, b)", "onnxruntime-int8")
    assert (config(graph, "c", "in").quant_min, config(graph, "c", "in").quant_max) == (-128, 127)


def test_assigned_operations_are_left_alone(examples):
    graph = examples.network("c = Conv(x, w, b)\ny = Relu(c)")
    context = examples.context_of(graph)
    done = examples.after(graph, FIRST, context)
    assert AssignConfigs().run(done, context) is done


def test_a_target_is_asked_for(examples):
    graph = examples.after(examples.network("c = Conv(x, w, b)"), ["dispatch"])
    with pytest.raises(OptionError, match="no target"):
        run_pass(graph, AssignConfigs(), PassContext())


def test_rows_are_named_after_their_slots(examples):
    graph = assigned(examples, "c = Conv(x, w, b)", w=np.ones((2, 2, 1, 1), np.float32))
    assert list(graph.rows) == ["c.in0", "c.in1", "c.in2", "c.out0"]
    assert graph.rows["c.in2"].derived_from == ("c.in0", "c.in1")
