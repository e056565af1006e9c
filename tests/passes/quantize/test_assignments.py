"""Schemes that the user gives to slots: what they do, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from quantable.ir import OptionError, State, UnknownNameError, UnsupportedError
from quantable.passes.quantize.assign_configs import AssignConfigs
from quantable.passes.quantize.assignments import slot_candidates
from quantable.passes.slot_editor import Slot
from quantable.targets import load_target

CHAIN = "a = Conv(x, w, b)\nr = Relu(a)\nc = Conv(r, w2, b2)\nd = Conv(c, w3, b3)\ny = Add(d, k)"
RESIDUAL = "a = Conv(x, w, b)\nc = Conv(a, w2, b2)\ns = Add(c, a)\ny = Conv(s, w3, b3)"
OVERLAPS = ("fuse-overlaps", "simplify-overlaps")


def assigned(examples, text, *entries, target="c-portable", passes=OVERLAPS, **contents):
    graph = examples.network(text, **contents)
    context = examples.context_of(graph, target)
    steps = ["dispatch", AssignConfigs(table=entries), *passes]
    return examples.after(graph, steps, context)


def config(graph, text):
    name, slot = text.split(".")
    held = graph.operation_by_name[name].config
    return (held.inputs if slot[:-1] == "in" else held.outputs)[int(slot[-1])]


def bits(graph, *slots):
    return [config(graph, slot).bits for slot in slots]


def test_an_output_is_made_as_assigned_and_its_readers_follow(examples):
    graph = assigned(examples, RESIDUAL, "a.out0=wide")
    assert bits(graph, "a.out0", "c.in0", "s.in1", "c.out0") == [16, 16, 16, 8]
    assert config(graph, "c.in0").row == config(graph, "s.in1").row == "a.out0"


def test_an_input_that_alone_reads_a_tensor_has_it_made_as_assigned(examples):
    graph = assigned(examples, RESIDUAL, "c.in0=narrow", "s.in0=wide")
    assert bits(graph, "c.out0", "s.in0") == [16, 16]
    assert bits(graph, "a.out0", "c.in0", "s.in1") == [8, 4, 8], "s reads a, too"
    assert config(graph, "c.in0").state is State.INITIAL
    assert config(graph, "c.in0").row == "c.in0"


def test_what_one_reader_wants_wider_does_not_widen_another_convolution(examples):
    text = "a = Conv(x, w, b)\nc = Conv(a, w2, b2)\nd = Conv(a, w3, b3)\ns = Add(c, d)\n"
    graph = assigned(examples, text + "y = Conv(s, w4, b4)", "c.in0=wide")
    assert bits(graph, "a.out0", "c.in0", "d.in0") == [16, 16, 8]
    assert config(graph, "d.in0").row == "d.in0"


def test_a_whole_operation_and_its_onnx_node(examples):
    for name in ("c", "/c"):
        graph = assigned(examples, CHAIN, f"{name}=wide")
        assert bits(graph, "c.in0", "c.in1", "c.out0", "r.out0") == [16, 8, 16, 16]
    graph = assigned(examples, CHAIN, "c=weight-4")
    assert bits(graph, "c.in0", "c.in1", "c.out0") == [8, 4, 8]


def test_a_fused_operation_hands_its_output_to_the_last_one(examples):
    graph = assigned(examples, CHAIN, "a=narrow")
    assert bits(graph, "a.in0", "a.out0", "r.out0", "c.in0") == [4, 4, 4, 4]
    assert config(graph, "a.out0").state is State.OVERLAPPED


def test_later_entries_win(examples):
    graph = assigned(examples, CHAIN, "c=wide", "c.out0=narrow", "c.in0=activation")
    assert bits(graph, "c.in0", "c.out0", "d.in0") == [8, 4, 4]


def test_first_and_last_layers_can_be_narrowed_all_the_same(examples):
    graph = assigned(examples, CHAIN, "a.in1=weight", "a.in0=narrow", target="c-w4a4")
    assert bits(graph, "a.in0", "a.in1", "d.in1") == [4, 4, 8]


def test_passive_operations_may_quantize_again(examples):
    text = "a = Conv(x, w, b)\np = MaxPool(a)\nc = Conv(p, w2, b2)\ny = Conv(c, w3, b3)"
    graph = assigned(examples, text, "p.out0=narrow")
    assert bits(graph, "a.out0", "p.in0", "p.out0", "c.in0") == [8, 8, 4, 4]
    assert config(graph, "p.out0").row == "p.out0"
    graph = assigned(examples, text, "c.in0=wide")
    assert bits(graph, "a.out0", "p.out0", "c.in0") == [16, 16, 16]


def test_constants_and_ranges_that_the_target_fixes(examples):
    graph = assigned(examples, "s = Softmax(x)\nt = Mul(s, k)\ny = MatMul(t, z)",
                     "s.out0=wide-probability", "t.in1=wide-constant")  # fmt: skip
    assert bits(graph, "s.out0", "t.in0", "t.in1", "t.out0") == [16, 16, 16, 8]
    assert graph.rows["s.out0"].scale == (2.0**-16,)


def test_float_where_the_target_allows_it(examples):
    graph = assigned(examples, CHAIN, "c.in1=float", "a=float", target="onnxruntime")
    for slot in ("a.in0", "a.in1", "a.in2", "a.out0", "r.in0", "r.out0", "c.in1", "c.in2"):
        assert config(graph, slot).state is State.FP32, slot
    # r writes float and c does not: c quantizes the tensor on the way in.
    assert config(graph, "c.in0").state is State.INITIAL or bits(graph, "c.in0") == [8]


@pytest.mark.parametrize(
    ("entry", "error", "expected"),
    [
        ("c.in0", OptionError, "expected 'OPERATION.SLOT=SCHEME'"),
        ("c=", OptionError, "expected 'OPERATION.SLOT=SCHEME'"),
        ("cc.in0=wide", UnknownNameError, "unknown operation 'cc'\n  help: did you mean"),
        ("c.in9=wide", UnknownNameError, "unknown slot of operation 'c' 'in9'\n  help: did you"),
        ("c.in0=wid", UnknownNameError, "unknown scheme 'wid'\n  help: did you mean wide"),
        ("c.in1=wide", OptionError, "in1 cannot have scheme 'wide'.*one of weight, weight-4"),
        ("c.in0=float", OptionError, "cannot have scheme 'float' on target 'c-portable'"),
        ("c=float", OptionError, "no slot of operation 'c'.* can have scheme 'float'"),
        ("c.in2=wide", OptionError, "in2 has no scheme of its own\n  help: slots .* in0, in1"),
        ("a.out0=wide", OptionError, "has no scheme of its own\n  help: it runs fused with 'r'"),
    ],
)
def test_a_bad_entry_is_refused(entry, error, expected, examples):
    with pytest.raises(error, match=expected.replace("\n", "(?s:.*)\n")):
        assigned(examples, CHAIN, entry)


def test_an_operation_that_stays_float_is_refused(examples):
    text = "a = Relu(x)\nc = Conv(a, w, b)"
    with pytest.raises(OptionError, match=r"stays float\n  help: dispatch it first: a="):
        assigned(examples, text, "a.out0=narrow", target="onnxruntime")


def test_sixteen_bits_that_an_accumulator_cannot_hold_are_refused_early(examples):
    wide = np.ones((2, 600, 1, 1), np.float32)
    with pytest.raises(UnsupportedError, match=r"(?s)overflow the accumulator.*'c'.*sums reach"):
        assigned(examples, CHAIN, "c.in0=wide", w2=wide)
    with pytest.raises(UnsupportedError, match=r"'y' .*sums reach 4.29e\+09"):
        assigned(examples, "q = Relu(x)\ny = MatMul(q, z)", "y=wide")
    assigned(examples, CHAIN, "c.in0=wide", "c.in1=weight-4", w2=wide)
    assigned(examples, CHAIN, "c.in0=wide", w2=wide, target="onnxruntime")


def test_candidates_begin_with_what_the_target_gives(examples):
    graph = examples.network(CHAIN)
    for name in ("c-portable", "c-w4a4", "onnxruntime"):
        target = load_target(name)
        ready = examples.after(graph, ["dispatch"], examples.context_of(graph, name))
        found = slot_candidates(ready, target)
        done = examples.after(graph, ["dispatch", "assign-configs"],
                              examples.context_of(graph, name))  # fmt: skip
        for slot, names in found.items():
            held = config(done, f"{slot.operation}.{slot.side}{slot.index}")
            if names[0] == "float":
                assert held.state is State.FP32
            else:
                assert held.same_scheme(target.schemes[names[0]].config(held.channel_axis)), slot
        assert Slot("a", "out", 0) not in found, "it is fused"
        assert all(("float" in names) != target.integer_only for names in found.values())


def test_every_candidate_can_be_assigned(examples):
    graph = examples.network(RESIDUAL)
    for name in ("c-portable", "c-w4a8", "c-w4a4", "onnxruntime", "onnxruntime-w4a4"):
        context = examples.context_of(graph, name)
        ready = examples.after(graph, ["dispatch"], context)
        for slot, names in slot_candidates(ready, load_target(name)).items():
            for scheme in names:
                entry = f"{slot.operation}.{slot.side}{slot.index}={scheme}"
                held = config(assigned(examples, RESIDUAL, entry, target=name), entry.split("=")[0])
                expected = 8 if scheme == "float" else context.target.schemes[scheme].bits
                assert held.bits == expected, entry
