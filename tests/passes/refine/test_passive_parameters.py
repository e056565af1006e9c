"""Passive parameters: bias, bounds, pad values."""

from __future__ import annotations

import numpy as np
import pytest

from quantable.ir import State, UnsupportedError, verify
from quantable.passes.base import run_pass
from quantable.passes.refine.passive_parameters import PassiveParameters

BEFORE = ("dispatch", "assign-configs", "fuse-overlaps", "simplify-overlaps", "calibrate", "align")


def ready(examples, text, **parameters):
    graph = examples.network(text, **parameters)
    context = examples.context_of(graph)
    return examples.after(graph, BEFORE, context), context


def test_a_bias_takes_the_row_of_whoever_quantizes_the_input(examples):
    graph, context = ready(examples, "r = Relu(x)\np = MaxPool(r)\nc = Conv(p, w, b)")
    done = run_pass(graph, PassiveParameters(), context)
    row = done.rows["c.in2"]
    assert row.derived_from == ("r.out0", "c.in1")
    expected = done.rows["r.out0"].scale_array * done.rows["c.in1"].scale_array
    assert np.array_equal(row.scale_array, expected)
    assert row.zero_point == (0, 0)


def test_a_pad_value_takes_the_row_of_the_padded_tensor(examples):
    graph, context = ready(examples, "r = Relu(x)\np = Pad(r, pads, k)\nc = Conv(p, w, b)")
    done = run_pass(graph, PassiveParameters(), context)
    assert examples.slots(done)["p.in2"].startswith("passive shared r.out0")
    baked = examples.after(done, ["bake"], context)
    value = baked.operation_by_name["p"].baked_parameter(2)
    assert baked.store.get(value.content).tolist() == [1]  # 0.5 in steps of 0.5


def test_bounds_follow_a_row_that_alignment_changed(examples):
    graph, context = ready(
        examples, "c = Conv(x, w, b)\nq = Clip(c, lo, hi)\ny = Concat(q, z)\nd = Conv(y, w2, b2)"
    )
    done = run_pass(graph, PassiveParameters(), context)
    assert examples.slots(done)["q.in1"].startswith("passive shared y.out0")
    baked = examples.after(done, ["bake"], context)
    integers = [
        baked.store.get(entry.content).item() for entry in baked.operation_by_name["q"].baked
    ]
    assert integers == [0, 12]


def test_it_is_idempotent_and_waits_for_calibration(examples):
    graph, context = ready(examples, "c = Conv(x, w, b)\ny = Clip(c, lo, hi)")
    done = run_pass(graph, PassiveParameters(), context)
    assert PassiveParameters().run(done, context) is done
    early = examples.after(
        examples.network("c = Conv(x, w, b)\ny = Clip(c, lo, hi)"), BEFORE[:4], context
    )
    assert PassiveParameters().run(early, context) is early
    held = graph.dequantized()
    assert PassiveParameters().run(held, context) is held


def test_every_bias_that_overflows_is_reported(examples):
    graph, context = ready(
        examples, "c = Conv(x, w, b)\nd = Conv(c, w2, b2)", b=np.array([3e9, 1.0], np.float32),
        b2=np.array([0.0, -4e9], np.float32),
    )  # fmt: skip
    with pytest.raises(UnsupportedError) as caught:
        run_pass(graph, PassiveParameters(), context)
    message = str(caught.value)
    assert "a bias overflows its width" in message
    assert "operation 'c' (Conv from /c) in2 channel 0: value 3e+09 is " in message
    assert "operation 'd' (Conv from /d) in2 channel 1: value -4e+09 is " in message
    assert "expected -2147483648 to 2147483647 (32 bits)" in message
    assert "help: keep the operation float" in message


def test_slots_of_activations_are_not_its_business(examples):
    graph, context = ready(examples, "c = Conv(x, w, b)\nd = Conv(x, w2, b2)\ny = Add(c, d)")
    done = run_pass(graph, PassiveParameters(), context)
    verify(done)
    assert done.operation_by_name["d"].config.inputs[0].state is State.PASSIVE
