"""Alignment: who makes a tensor in the common row, and who quantizes again."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from quantable.passes.base import run_pass
from quantable.passes.refine.align import Align

BEFORE = ("dispatch", "assign-configs", "fuse-overlaps", "simplify-overlaps", "calibrate")


def aligned(examples, text, target="c-portable", outputs=(), **values):
    graph = examples.network(text, outputs)
    context = examples.context_of(graph, target, **values)
    ready = examples.after(graph, BEFORE, context)
    done = run_pass(ready, Align(), context)
    assert Align().run(done, context) is done
    return done, examples.slots(done)


def test_makers_adopt_the_row_through_fused_and_moving_operations(examples):
    _, found = aligned(
        examples,
        "c = Conv(x, w, b)\nr = Relu(c)\np = MaxPool(r)\nd = Conv(x, w2, b2)\n"
        "q = Concat(p, d)\ny = Conv(q, w3, b3)",
    )
    for slot in ("c.out0", "r.in0", "r.out0", "p.in0", "p.out0", "q.in0", "d.out0", "q.in1"):
        assert found[slot].startswith("overlapped overlapped q.out0"), slot
    assert found["q.out0"].startswith("activated own q.out0")


def test_a_tensor_with_another_reader_is_quantized_again(examples):
    graph, found = aligned(
        examples,
        "c = Conv(x, w, b)\nd = Conv(x, w2, b2)\nq = Concat(c, d)\ne = Add(c, q)\n"
        "y = Conv(e, w3, b3)",
    )
    assert found["c.out0"].startswith("activated own c.out0")
    assert found["q.in0"].startswith("passive shared q.out0")
    assert found["e.in0"].startswith("overlapped overlapped c.out0")
    assert found["d.out0"].startswith("overlapped overlapped q.out0")
    assert "d.out0" not in graph.rows


def test_an_output_of_the_graph_keeps_its_row(examples):
    _, found = aligned(
        examples, "c = Conv(x, w, b)\nq = Concat(c, z)\ny = Conv(q, w2, b2)", outputs=("c", "y")
    )
    assert found["c.out0"].startswith("activated own c.out0")
    assert found["q.in0"].startswith("passive shared q.out0")


def test_a_fixed_range_is_kept(examples):
    _, found = aligned(examples, "s = Softmax(x)\nq = Concat(s, z)\ny = Conv(q, w, b)")
    assert found["s.out0"] == "activated own s.out0 = 0.00390625"
    assert found["q.in0"].startswith("passive shared q.out0")


def test_an_owner_of_a_shared_row_hands_it_over(examples):
    graph, found = aligned(examples, "q = Concat(x, z)\na = Add(x, q)\ny = Conv(a, w, b)")
    assert found["q.in0"].startswith("passive shared q.out0")
    assert found["a.in0"].startswith("activated own q.in0")
    assert graph.rows["q.in0"].is_filled


def test_inputs_take_the_width_of_the_output(examples):
    graph, found = aligned(examples, "c = Conv(x, w, b)\nd = Conv(c, w2, b2)\ny = Concat(c, d)")
    assert found["y.in0"].startswith("passive shared y.out0")
    first, second = graph.operation_by_name["y"].config.inputs
    assert (first.bits, second.bits) == (16, 16)


def test_a_constant_shares_the_row(examples):
    graph, found = aligned(examples, "q = Concat(x, k)\ny = Conv(q, w, b)")
    assert found["q.in1"].startswith("passive shared q.out0")
    assert graph.operation_by_name["q"].config.inputs[1].quant_max == 255
    baked = examples.after(graph, ["passive-parameters", "bake"])
    assert examples.slots(baked)["q.in1"].startswith("passive-baked shared q.out0")


def test_align_to_the_largest_input(examples):
    graph = examples.network("c = Conv(x, w, b)\na = Add(c, z)\ny = Conv(a, w2, b2)")
    context = examples.context_of(graph, c=[0.0, 10.0], z=[-50.0, 50.0])
    rules = dict(context.target.rules)
    rules["Add"] = replace(rules["Add"], align="large")
    context.target = replace(context.target, rules=MappingProxyType(rules))
    ready = examples.after(graph, BEFORE, context)
    done = run_pass(ready, Align(), context)
    found = examples.slots(done)
    assert found["a.in0"].startswith("passive shared a.in1")
    assert found["a.in1"].startswith("activated own a.in1")
    assert found["c.out0"].startswith("activated own c.out0")
    assert Align().run(done, context) is done


def test_none_and_suspended_operations_are_left_alone(examples):
    graph = examples.network("c = Conv(x, w, b)\na = Add(c, z)\ny = AveragePool(a)")
    context = examples.context_of(graph)
    ready = examples.after(graph, BEFORE, context)
    assert Align().run(ready, context) is ready
    concat = examples.network("c = Conv(x, w, b)\nq = Concat(c, z)\ny = Conv(q, w2, b2)")
    context = examples.context_of(concat)
    held = examples.after(concat, BEFORE, context).dequantized()
    assert Align().run(held, context) is held
