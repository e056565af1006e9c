"""The methods of dispatching: each does what its row says, on small networks and on a real one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quantable.frontend import import_model
from quantable.ir import DType, QuantableOperation, UnknownNameError
from quantable.passes.base import PassContext, run_pass, run_passes
from quantable.passes.quantize.dispatch import Dispatch
from quantable.passes.quantize.dispatch_methods import METHODS
from quantable.passes.quantize.value_flow import INDEX_SLOTS
from quantable.passes.registry import GROUPS, pass_class
from quantable.reference import FloatExecutor, ReferenceRuntime, observe
from quantable.targets import TARGETS, load_target
from quantable.targets.description import FLOAT

MODELS = Path(__file__).resolve().parents[4] / "shared" / "models"
CLIPPED = "c = Conv(x, w, b)\ny = Clip(c, lo, hi)"
NETWORK = """
    t = Relu(x)
    c = Conv(t, w, b)
    r = Relu(c)
    s = Sigmoid(r)
    p = MaxPool(s)
    d = Conv(p, w2, b2)
    e = Relu(d)
    f = Conv(e, w3, b3)
    g = Clip(f, lo, hi)
    h = Sigmoid(g)
    y = Conv(h, w4, b4)
"""
EXPECTED = {
    "conservative": "c r d e f g y",
    "aggressive": "c r p d e f g y",
    "pplnn": "c r d e f g y",
    "pointwise": "c d f y",
    "perseus": "c r p d e f g y",
    "all-in": "t c r p d e f g y",
}


def with_tails(target):
    """The target with tails quantized, so that the method alone decides."""
    activation = replace(target.schemes["activation"], tail="")
    return replace(target, schemes={**target.schemes, "activation": activation})


def chosen(graph, method, context):
    done = run_pass(graph, Dispatch(method=method), context)
    return {op.name for op in done.operations if isinstance(op, QuantableOperation)}


def test_every_method_is_tried_here_and_named_in_the_documents():
    assert set(EXPECTED) == set(METHODS)
    root = Path(__file__).resolve().parents[3]
    page = (root / "docs/command-line.md").read_text(encoding="utf-8")
    for name, method in METHODS.items():
        assert f"| `{name}` | {method.rule} |" in page
    help_text = (root / "tools/quantable/cli/dispatch_options.py").read_text(encoding="utf-8")
    assert all(name in help_text for name in METHODS)


@pytest.mark.parametrize(("method", "expected"), EXPECTED.items())
def test_what_each_method_quantizes(method, expected, examples):
    graph = examples.network(NETWORK)
    context = examples.context_of(graph, "onnxruntime")
    context.target = with_tails(context.target)
    assert chosen(graph, method, context) == set(expected.split())
    said = {place.split("'")[1]: reason for _, place, reason in context.remarks}
    left = set(said) - {"s", "h"}  # no rule for Sigmoid
    assert all(METHODS[method].reason in said[name] for name in left)
    assert left == {op.name for op in graph.operations} - set(expected.split()) - {"s", "h"}


@pytest.mark.parametrize("method", METHODS)
def test_a_convolution_with_its_clip_is_quantized_by_every_method(method, examples):
    """PPQ's pplnn leaves this network float, and its pointwise raises a TypeError."""
    text = CLIPPED.replace("y =", "r =") + "\nm = MaxPool(r)\ny = Conv(m, w2, b2)"
    graph = examples.network(text)
    found = chosen(graph, method, examples.context_of(graph, "onnxruntime"))
    assert found >= {"c", "y"}
    alone = examples.network(CLIPPED)
    assert "c" in chosen(alone, method, examples.context_of(alone, "onnxruntime"))


def test_pplnn_takes_what_runs_fused_with_a_convolution_but_nothing_behind_the_last(examples):
    graph = examples.network(CLIPPED + "\nz = MaxPool(y)")
    context = examples.context_of(graph, "onnxruntime")
    context.target = with_tails(context.target)
    assert chosen(graph, "pplnn", context) == {"c", "y"}
    assert chosen(graph, "conservative", context) == {"c", "y", "z"}


def with_integers(graph, *names):
    values = {n: replace(graph.values[n], dtype=DType.INT64) for n in names}
    return replace(graph, values={**graph.values, **values})


def test_perseus_goes_by_the_flow_of_values(examples):
    text = """
        c = Conv(x, w, b)
        s = Shape(c)
        f = Cast(s)
        q = Mul(f, c)
        r = Relu(x)
        p = Reshape(r, s)
        e = Add(c, p)
        y = Conv(e, w2, b2)
        z = Conv(q, w3, b3)
    """
    graph = with_integers(examples.network(text), "s")
    found = chosen(graph, "perseus", examples.context_of(graph, "onnxruntime"))
    # r reads what c reads; q multiplies by a number of elements, which is no value of the network.
    assert found == {"c", "r", "p", "e", "y"}
    other = chosen(graph, "aggressive", examples.context_of(graph, "onnxruntime"))
    assert other == {"c", "q", "e", "y", "z"}


@pytest.mark.parametrize("method", METHODS)
def test_integer_only_targets_take_everything(method, examples):
    graph = examples.network(CLIPPED + "\nz = Sigmoid(y)")
    assert chosen(graph, method, examples.context_of(graph, "c-portable")) == {"c", "y", "z"}


def test_an_unknown_method_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean aggressive"):
        Dispatch(method="aggresive").check()


def test_index_slots_agree_with_the_targets():
    for name in TARGETS:
        for rule in load_target(name).rules.values():
            if rule.role == "passive" and len(rule.inputs) > 1:
                index = {i for i, scheme in enumerate(rule.inputs) if i and scheme == FLOAT}
                assert index == set(INDEX_SLOTS.get(rule.kind, ())), rule.kind


@pytest.fixture(scope="module")
def transformer():
    """cct_cifar with the profile of one random sample."""
    if not MODELS.is_dir():
        pytest.skip(f"no shared networks at {MODELS.name}")
    executor = FloatExecutor()
    graph = import_model(MODELS / "cct_cifar.onnx", executor=executor)
    passes = [pass_class(name)() for name in GROUPS["canonicalize"]]
    graph = run_passes(graph, passes, PassContext(executor=executor))
    shape = [dim if isinstance(dim, int) else 1 for dim in graph.shape(graph.inputs[0])]
    sample = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    return graph, observe(graph, [{graph.inputs[0]: sample}], threads=1), sample


def test_methods_on_a_real_network_differ_as_their_rules_say(transformer):
    graph, profile, _ = transformer
    context = PassContext(target=with_tails(load_target("onnxruntime")), profile=profile)
    found = {method: chosen(graph, method, context) for method in METHODS}
    assert found["pointwise"] < found["pplnn"] < found["conservative"] < found["aggressive"]
    assert found["aggressive"] <= found["perseus"] <= found["all-in"]
    roles = {op.name: context.target.rules.get(op.kind) for op in graph.operations}
    assert {roles[name].role for name in found["pointwise"]} == {"compute"}


@pytest.mark.parametrize("method", METHODS)
def test_a_real_network_is_quantized_by_every_method(method, transformer):
    graph, profile, sample = transformer
    context = PassContext(target=load_target("onnxruntime"), profile=profile)
    names = (*GROUPS["quantize"][1:], "calibrate", *GROUPS["refine"])
    passes = [Dispatch(method=method), *(pass_class(name)() for name in names)]
    done = run_passes(graph, passes, context)
    real, simulated = (
        next(iter(ReferenceRuntime(g).run({graph.inputs[0]: sample}).values()))
        for g in (graph, done)
    )
    error = float(np.square(simulated - real).sum() / np.square(real).sum())
    assert 0 < error < 0.1
