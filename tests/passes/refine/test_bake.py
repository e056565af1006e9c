"""Baking: integers in storage type, shared parameters refused, suspension kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from quantable.ir import (
    Arithmetic,
    DType,
    InvariantError,
    Operation,
    State,
    UnsupportedError,
    numerics,
)
from quantable.passes.base import run_pass
from quantable.passes.refine.bake import Bake

TEXT = "c = Conv(x, w, b)\nr = Relu(c)\ny = Add(r, k)"


def ready(examples, text=TEXT):
    graph = examples.network(text)
    context = examples.context_of(graph)
    return examples.after(graph, examples.CHAIN[:-1], context), context


def test_every_parameter_in_force_is_stored_as_integers(examples):
    graph, context = ready(examples)
    done = run_pass(graph, Bake(), context)
    conv = done.operation_by_name["c"]
    assert [entry.content.dtype for entry in conv.baked] == [DType.INT8, DType.INT32]
    assert done.store.get(conv.baked[0].content)[:, :, 0, 0].tolist() == [[127, -8], [8, -127]]
    assert done.operation_by_name["y"].baked[0].content.dtype is DType.INT16
    config = conv.config.inputs[1]
    real = numerics.dequantize(done.store.get(conv.baked[0].content), config, done.rows["c.in1"])
    on_the_fly = numerics.dequantize(
        numerics.quantize(graph.array("w"), config, graph.rows["c.in1"]),
        config,
        graph.rows["c.in1"],
    )
    assert np.array_equal(real, on_the_fly)


def test_a_policy_that_no_type_stores_is_refused(examples):
    graph, context = ready(examples)
    op = graph.operation_by_name["c"]
    policy = replace(op.config.inputs[1].policy, arithmetic=Arithmetic.FLOATING, power_of_two=True)
    weight = replace(op.config.inputs[1], policy=policy, exponent_bits=3)
    changed = graph.with_operations([op.with_slot("in", 1, weight)])
    with pytest.raises(UnsupportedError, match="cannot bake a parameter") as caught:
        run_pass(changed, Bake(), context)
    assert "operation 'c'" in caught.value.where


def test_it_is_idempotent_and_changes_no_float_content(examples):
    graph, context = ready(examples)
    done = run_pass(graph, Bake(), context)
    assert Bake().run(done, context) is done
    assert done.parameters == graph.parameters
    assert [op.originals for op in done.quantable_operations] == [
        op.originals for op in graph.quantable_operations
    ]


def test_dequantize_and_restore_survive_baking(examples):
    graph, context = ready(examples)
    done = run_pass(graph, Bake(), context)
    assert done.dequantized().restored() == done
    held = done.dequantized()
    assert Bake().run(held, context) is held


def test_a_shared_parameter_is_refused(examples):
    graph, context = ready(examples)
    reader = Operation("extra", "Relu", ("w",), ("e",))
    values = {**graph.values, "e": replace(graph.values["w"], name="e")}
    shared = replace(graph, values=values, operations=(*graph.operations, reader))
    with pytest.raises(InvariantError, match=r"in1: cannot bake parameter 'w': .* found 2"):
        run_pass(shared, Bake(), context)


def test_parameters_that_are_not_in_force_stay_float(examples):
    graph, context = ready(examples, "n = LayerNormalization(x, k, b)\ny = Conv(n, w, b2)")
    done = run_pass(graph, Bake(), context)
    assert done.operation_by_name["n"].baked == ()
    assert done.operation_by_name["n"].config.inputs[1].state is State.FP32
