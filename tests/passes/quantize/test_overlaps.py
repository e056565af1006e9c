"""Fusing and simplifying: who quantizes a tensor."""

from __future__ import annotations

from quantable.ir import verify
from quantable.passes.quantize.fuse_overlaps import FuseOverlaps
from quantable.passes.quantize.simplify_overlaps import SimplifyOverlaps


def related(examples, text, target="c-portable", outputs=()):
    graph = examples.network(text, outputs)
    return examples.after(graph, examples.QUANTIZE, examples.context_of(graph, target))


def row_of(examples, graph):
    return {slot: text.split()[-1] for slot, text in examples.slots(graph).items()}


def test_one_row_serves_a_chain_of_movement(examples):
    graph = related(
        examples,
        "c = Conv(x, w, b)\nr = Relu(c)\np = MaxPool(r)\nf = Reshape(p, shape)\n"
        "l = quantable.Linear(f, m, b2)",
    )
    rows = row_of(examples, graph)
    chain = ["c.out0", "r.in0", "r.out0", "p.in0", "p.out0", "f.in0", "f.out0", "l.in0"]
    assert {rows[slot] for slot in chain} == {"r.out0"}
    assert [s for s, t in examples.slots(graph).items() if t.startswith("initial")] == [
        "c.in0", "c.in1", "r.out0", "l.in1", "l.out0",
    ]  # fmt: skip
    assert graph.rows["l.in2"].derived_from == ("r.out0", "l.in1")
    assert "c.out0" not in graph.rows


def test_a_fused_chain_ends_in_its_last_row(examples):
    graph = related(examples, "a = Add(x, z)\nr = Relu(a)\nq = Clip(r, lo, hi)\ny = Conv(q, w, b)")
    rows = row_of(examples, graph)
    assert rows["a.out0"] == rows["r.in0"] == "r.out0"  # Relu then Clip is no pair of the target
    assert rows["q.in1"] == rows["q.out0"] == "q.out0"


def test_a_pair_is_not_fused_where_somebody_else_reads_between(examples):
    text = "c = Conv(x, w, b)\nr = Relu(c)\ny = Add(r, c)"
    assert row_of(examples, related(examples, text))["c.out0"] == "c.out0"
    text = "c = Conv(x, w, b)\nr = Relu(c)"
    assert row_of(examples, related(examples, text, outputs=("c", "r")))["c.out0"] == "c.out0"


def test_a_kind_that_the_target_does_not_fuse_is_left_alone(examples):
    graph = related(examples, "c = Conv(x, w, b)\ns = Sigmoid(c)\ny = Conv(s, w2, b2)")
    assert examples.slots(graph)["c.out0"] == "initial own c.out0"
    assert examples.slots(graph)["s.in0"] == "overlapped overlapped c.out0"


def test_readers_of_a_graph_input_share_the_first_ones_row(examples):
    found = examples.slots(
        related(examples, "c = Conv(x, w, b)\nd = Conv(x, w2, b2)\ny = Add(c, d)")
    )
    assert found["c.in0"] == "initial own c.in0"
    assert found["d.in0"] == "passive-init shared c.in0"


def test_readers_of_a_float_operation_share_too(examples):
    text = (
        "s = Sigmoid(x)\nc = Conv(s, w, b)\nd = Conv(s, w2, b2)\ne = Add(c, d)\ny = Conv(e, w3, b3)"
    )
    graph = related(examples, text, "onnxruntime")
    found = examples.slots(graph)
    assert (found["c.in0"], found["d.in0"]) == ("initial own c.in0", "passive-init shared c.in0")
    assert graph.rows["d.in2"].derived_from == ("c.in0", "d.in1")


def test_movement_of_a_graph_input_quantizes_on_the_way_in(examples):
    found = examples.slots(related(examples, "t = Transpose(x)\nc = Conv(t, w, b)"))
    assert found["t.in0"] == "initial own t.in0"
    assert found["t.out0"] == found["c.in0"] == "overlapped overlapped t.in0"


def test_both_passes_are_idempotent(examples):
    graph = examples.network("c = Conv(x, w, b)\nr = Relu(c)\np = MaxPool(r)\ny = Add(p, x)")
    context = examples.context_of(graph)
    done = examples.after(graph, examples.QUANTIZE, context)
    verify(done)
    assert FuseOverlaps().run(done, context) is done
    assert SimplifyOverlaps().run(done, context) is done


def test_suspended_slots_are_left_alone(examples):
    graph = examples.network("c = Conv(x, w, b)\nr = Relu(c)\ny = Conv(r, w2, b2)")
    context = examples.context_of(graph)
    held = examples.after(graph, examples.QUANTIZE[:2], context).dequantized()
    assert SimplifyOverlaps().run(held, context) is held
    assert FuseOverlaps().run(held, context) is held
