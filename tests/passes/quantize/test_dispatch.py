"""Dispatch: methods, tails, the user's table, and what a target cannot do."""

from __future__ import annotations

import pytest

from quantable.ir import (
    Level,
    OptionError,
    State,
    UnknownNameError,
    UnsupportedError,
    graph_digest,
)
from quantable.passes.base import PassContext, run_pass
from quantable.passes.quantize.dispatch import Dispatch

CHAIN = """
    t = Transpose(x)
    c = Conv(t, w, b)
    s = Sigmoid(c)
    d = Conv(s, w2, b2)
    r = Relu(d)
    e = Conv(r, w3, b3)
    y = Add(e, k)
"""


def dispatch(examples, text, target="onnxruntime", **options):
    graph = examples.network(text)
    context = examples.context_of(graph, target)
    return run_pass(graph, Dispatch(**options), context)


def chosen(graph, examples):
    return {name for name, platform in examples.platforms(graph).items() if platform != "float"}


def test_conservative_flows_forward_from_compute_operations(examples):
    assert chosen(dispatch(examples, CHAIN), examples) == {"c", "d", "r", "e"}


def test_all_in_takes_every_kind_that_the_target_knows(examples):
    found = chosen(dispatch(examples, CHAIN, method="all-in"), examples)
    assert found == {"t", "c", "d", "r", "e"}


def test_tails_are_left_float_where_the_target_says_so(examples):
    text = "c = Conv(x, w, b)\nr = Relu(c)\ny = Reshape(r, shape)"
    assert chosen(dispatch(examples, text), examples) == {"c"}
    assert chosen(dispatch(examples, text, "c-portable"), examples) == {"c", "r", "y"}


def test_an_integer_only_target_takes_everything(examples):
    for method in ("conservative", "all-in"):
        graph = dispatch(examples, CHAIN, "x86-vnni", method=method)
        assert set(examples.platforms(graph).values()) == {"x86-vnni"}


def test_the_table_overrides_by_operation_and_by_source_node(examples):
    graph = dispatch(examples, CHAIN, table=("t=onnxruntime", "/d=float"))
    assert chosen(graph, examples) == {"t", "c", "r", "e"}


@pytest.mark.parametrize(
    ("target", "entry", "error", "expected"),
    [
        ("onnxruntime", "c", OptionError, "expected 'operation=platform'"),
        ("onnxruntime", "cc=float", UnknownNameError, "unknown operation 'cc'"),
        ("onnxruntime", "c=npu", UnknownNameError, "unknown platform 'npu'"),
        ("onnxruntime", "s=onnxruntime", UnsupportedError, "no rule for Sigmoid"),
        ("c-portable", "c=float", OptionError, "runs every operation in integers"),
    ],
)
def test_a_bad_table_is_refused(target, entry, error, expected, examples):
    with pytest.raises(error, match=expected):
        dispatch(examples, CHAIN, target, table=(entry,))


def test_everything_an_integer_target_cannot_do_is_listed_at_once(examples):
    text = "c = Conv(x, w, z)\ns = Hardmax(c)\ny = Einsum(s, s)\nr = Relu(y)"
    with pytest.raises(UnsupportedError) as caught:
        dispatch(examples, text, "c-portable")
    message = str(caught.value)
    assert "cannot run 3 operations of 'example'" in message
    for line in (
        "operation 'c' (Conv from /c): expected that weight and bias are constants",
        "operation 's' (Hardmax from /s): the target has no rule for Hardmax",
        "operation 'y' (Einsum from /y): the target has no rule for Einsum",
    ):
        assert line in message
    assert "'r'" not in message
    assert message.count("replace it by operations") == 1, "what two have in common is said once"
    assert caught.value.help.startswith("make it an initializer")


@pytest.mark.parametrize(
    ("text", "method", "operation", "expected"),
    [
        ("a = Relu(x)\nc = Conv(a, w, b)", "conservative", "a", "no compute operation before it"),
        ("c = Conv(x, w, b)\na = Relu(c)", "conservative", "a", "no compute operation after it"),
        ("c = Conv(x, w, b)\na = Relu(c)", "all-in", "a", "no compute operation after it"),
    ],
)
def test_why_an_operation_stays_float(text, method, operation, expected, examples):
    graph = examples.network(text)
    context = examples.context_of(graph, "onnxruntime")
    run_pass(graph, Dispatch(method=method), context)
    said = {place: reason for _, place, reason in context.remarks}
    assert expected in said[f"operation '{operation}' (Relu from /{operation})"]


def test_what_a_float_target_cannot_do_stays_float_with_a_remark(examples):
    graph = examples.network("c = Conv(x, w, z)")
    context = examples.context_of(graph, "onnxruntime")
    result = run_pass(graph, Dispatch(), context)
    assert examples.platforms(result) == {"c": "float"}
    assert [place for _, place, _ in context.remarks] == ["operation 'c' (Conv from /c)"]


def test_shape_operations_are_never_quantized(examples):
    text = "s = Relu(x)\nc = Conv(x, w, b)\nq = Reshape(c, s)\ny = Conv(q, w2, b2)"
    graph = dispatch(examples, text, method="all-in")
    assert chosen(graph, examples) == {"c", "q", "y"}


def test_no_slot_is_quantized_and_the_float_graph_is_named(examples):
    graph = examples.network(CHAIN)
    result = run_pass(graph, Dispatch(), examples.context_of(graph, "onnxruntime"))
    assert result.level is Level.QUANTABLE
    assert result.target == "onnxruntime"
    assert result.metadata["float_digest"] == graph_digest(graph)
    configs = [c for op in result.quantable_operations for _, _, c in op.config.slots()]
    assert {config.state for config in configs} == {State.FP32}
    assert all(op.originals for op in result.quantable_operations if op.kind == "Conv")


def test_a_method_and_a_target_are_asked_for(examples):
    with pytest.raises(UnknownNameError, match="unknown dispatch method 'allin'"):
        dispatch(examples, CHAIN, method="allin")
    with pytest.raises(OptionError, match="no target"):
        run_pass(examples.network(CHAIN), Dispatch(), PassContext())
