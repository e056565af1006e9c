"""Bias correction: what it takes out, what it leaves, and that it lowers the error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantable.driver import api
from quantable.ir import (
    ChannelMeans,
    ContentStore,
    DType,
    Graph,
    Level,
    Operation,
    Value,
    verify,
)
from quantable.ir.numerics import dequantize, quantize
from quantable.passes.base import PassContext, run_pass
from quantable.passes.calibrate.correct_bias import CorrectBias
from quantable.reference import ReferenceRuntime, observe


def ready(examples, text="c = Conv(x, v, b)", **parameters):
    graph = examples.network(text, **parameters)
    context = examples.context_of(graph)
    return examples.after(graph, (*examples.QUANTIZE, "calibrate"), context), context


def test_running_it_twice_corrects_once(examples):
    graph, context = ready(examples)
    done = run_pass(graph, CorrectBias(), context)
    assert not np.array_equal(done.array("b"), graph.array("b"))
    again = CorrectBias().run(done, context)
    assert again is done
    verify(done)


def test_the_float_operation_keeps_its_bias(examples):
    graph, context = ready(examples)
    done = run_pass(graph, CorrectBias(), context).operation_by_name["c"].dequantize()
    original = done.original(2)
    assert graph.store.get(original).tolist() == [1.5, -2.25]


@pytest.mark.parametrize("means", [{}, {("x", 1): ChannelMeans(())}])
def test_a_profile_without_means_leaves_the_bias_and_says_so(examples, means):
    graph, context = ready(examples)
    bare = PassContext(target=context.target, profile=replace(context.profile, channel_means=means))
    assert CorrectBias().run(graph, bare) is graph
    assert [remark[2] for remark in bare.remarks] == [
        "the bias stays: the profile has no means of the channels of 'x'"
    ]


def test_an_operation_without_a_bias_is_left_alone(examples):
    graph, context = ready(examples, "c = Conv(x, v)")
    assert CorrectBias().run(graph, context) is graph
    assert context.remarks[-1][2] == "the bias stays: there is none"


def test_what_is_suspended_or_baked_is_left_alone(examples):
    graph, context = ready(examples)
    held = graph.dequantized()
    assert CorrectBias().run(held, context) is held
    baked = examples.after(graph, ("passive-parameters", "bake"), context)
    assert CorrectBias().run(baked, context) is baked


WINDOWS = st.fixed_dictionaries({
    "kind": st.sampled_from(["Conv", "ConvTranspose"]),
    "kernel": st.tuples(st.integers(1, 3), st.integers(1, 3)),
    "stride": st.integers(1, 2),
    "dilation": st.integers(1, 2),
    "pads": st.tuples(*[st.integers(0, 2)] * 4),
    "group": st.sampled_from([1, 2]),
    "seed": st.integers(0, 1 << 16),
})  # fmt: skip


def float_graph(kind, attributes, weights):
    """Return a graph of one convolution over [1, 4, 9, 9], its shapes known."""
    store = ContentStore()
    held = {"w": store.put(weights), "b": store.put(np.zeros(6, np.float32))}
    values = {name: Value(name, ref.dtype, ref.shape) for name, ref in held.items()}
    values["x"] = Value("x", DType.FLOAT32, (1, 4, 9, 9))
    values["c"] = Value("c", DType.FLOAT32, None)
    op = Operation("c", kind, ("x", "w", "b"), ("c",), attributes)
    graph = Graph("g", Level.FLOAT, 21, ("x",), ("c",), values, (op,), held, store=store)
    return api.optimize(graph, "fold-shapes")


@settings(max_examples=60, deadline=None)
@given(WINDOWS)
def test_the_mean_error_of_constant_channels_vanishes(window):
    """Channels that are constant have no error but the mean one, padding included."""
    rng = np.random.default_rng(window["seed"])
    kind, kernel, group = window["kind"], window["kernel"], window["group"]
    shape = (4, 6 // group) if kind == "ConvTranspose" else (6, 4 // group)
    attributes = {
        "kernel_shape": kernel, "strides": (window["stride"],) * 2, "group": group,
        "dilations": (window["dilation"],) * 2, "pads": window["pads"],
    }  # fmt: skip
    graph = float_graph(kind, attributes, rng.normal(size=(*shape, *kernel)).astype(np.float32))
    levels = rng.uniform(0.5, 1.0, 4).astype(np.float32)[None, :, None, None]
    sample = {"x": np.broadcast_to(levels, (1, 4, 9, 9)).copy()}
    quantized = api.calibrate(api.quantize(graph, "onnxruntime"), observe(graph, [sample]))
    op = quantized.operation_by_name["c"]
    config = op.config.inputs[1]
    row = quantized.rows[config.row]
    rounded = dequantize(quantize(graph.array("w"), config, row), config, row)
    expected = mean_of(graph, sample)
    biased = mean_of(graph, sample, w=rounded) - expected
    corrected = mean_of(graph, sample, w=rounded, b=quantized.array("b")) - expected
    assert np.abs(corrected).max() <= 1e-6 + 1e-4 * np.abs(biased).max()


def mean_of(graph, sample, **contents):
    """Return the mean of each output channel, with other parameters."""
    held = {name: graph.store.put(array) for name, array in contents.items()}
    changed = replace(graph, parameters={**graph.parameters, **held})
    return ReferenceRuntime(changed).run(sample)["c"].astype(np.float64).mean(axis=(0, 2, 3))
