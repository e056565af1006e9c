"""The calibrate pass: which rows it fills, from what, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from quantable.ir import (
    DataError,
    OptionError,
    Profile,
    State,
    UnknownNameError,
    graph_digest,
    verify,
)
from quantable.passes.base import PassContext, run_pass
from quantable.passes.calibrate.calibrate import Calibrate, profile_digest

TEXT = "c = Conv(x, w, b)\nr = Relu(c)\nd = Conv(r, w2, b2)\ny = Add(d, r)"


def ready(examples, text=TEXT, target="c-portable", **parameters):
    graph = examples.network(text, **parameters)
    context = examples.context_of(graph, target)
    return graph, examples.after(graph, examples.QUANTIZE, context), context


def config(graph, name, side, index):
    held = graph.operation_by_name[name].config
    return (held.inputs if side == "in" else held.outputs)[index]


def test_every_row_is_filled_but_that_of_a_bias(examples):
    _, graph, context = ready(examples)
    done = run_pass(graph, Calibrate(), context)
    empty = [row.id for row in done.rows.values() if not row.is_filled]
    assert empty == ["c.in2", "d.in2"]
    states = {c.state for op in done.quantable_operations for _, _, c in op.config.slots()}
    assert states <= {State.ACTIVATED, State.OVERLAPPED, State.PASSIVE_INIT}


def test_the_method_is_that_of_the_slot_unless_an_option_says_otherwise(examples):
    _, graph, context = ready(examples)
    usual = run_pass(graph, Calibrate(), context)
    assert usual.rows["r.out0"].provenance.startswith("calibrate: mse [0, ")
    assert usual.rows["y.out0"].provenance.startswith("calibrate: headroom [0, 255]")
    assert usual.rows["c.in1"].provenance.startswith("calibrate: grid [-15.875, 31.75]")
    other = run_pass(graph, Calibrate("minmax", "mse"), context)
    assert other.rows["r.out0"].provenance == "calibrate: minmax [0, 127.5]"
    assert other.rows["y.out0"].provenance == usual.rows["y.out0"].provenance
    assert other.rows["c.in1"].provenance.startswith("calibrate: mse")
    assert config(other, "r", "out", 0).observer == "minmax"


def test_readers_that_share_a_row_become_passive(examples):
    _, graph, context = ready(examples, "c = Conv(x, w, b)\nd = Conv(x, w2, b2)\ny = Add(c, d)")
    done = run_pass(graph, Calibrate(), context)
    assert config(done, "d", "in", 0).state is State.PASSIVE


def test_it_is_idempotent_and_can_start_again(examples):
    _, quantable, context = ready(examples)
    done = run_pass(quantable, Calibrate(), context)
    assert Calibrate().run(done, context) is done
    again = run_pass(done, Calibrate(again=True, method="minmax"), context)
    fresh = run_pass(quantable, Calibrate(method="minmax"), context)
    assert again.rows == fresh.rows
    assert examples.slots(again) == examples.slots(fresh)


def test_starting_again_gives_up_derived_rows_and_refuses_baked_ones(examples):
    _, quantable, context = ready(examples)
    passive = examples.after(quantable, ["calibrate", "passive-parameters"], context)
    again = run_pass(passive, Calibrate(again=True, method="minmax"), context)
    assert not again.rows["c.in2"].is_filled
    baked = examples.after(passive, ["bake"], context)
    kept = run_pass(baked, Calibrate(again=True, method="minmax"), context)
    verify(kept)
    assert kept.rows["c.in1"] == baked.rows["c.in1"]
    assert kept.rows["c.in2"] == baked.rows["c.in2"]


def test_a_profile_of_another_graph_is_refused(examples):
    _, graph, context = ready(examples)
    other = examples.network(TEXT, b=np.zeros(2, np.float32))
    context = replace(context, profile=examples.profile_of(other))
    with pytest.raises(DataError) as caught:
        run_pass(graph, Calibrate(), context)
    assert graph.metadata["float_digest"][:12] in str(caught.value)
    assert graph_digest(other)[:12] in str(caught.value)


def test_a_missing_profile_and_a_missing_value_are_refused(examples):
    float_graph, graph, context = ready(examples)
    with pytest.raises(DataError, match="needs a profile, found none"):
        run_pass(graph, Calibrate(), PassContext(target=context.target))
    held = dict(context.profile.statistics)
    del held["r"], held["y"]
    thin = replace(context, profile=Profile(graph_digest(float_graph), 1, held))
    with pytest.raises(DataError, match=r"operation 'r' .* out0: the profile lacks 2 values"):
        run_pass(graph, Calibrate(), thin)


def test_values_without_elements_dead_channels_and_constants_give_valid_rows(examples):
    weights = np.zeros((2, 2, 1, 1), np.float32)
    graph = examples.network(TEXT, w=weights)
    context = examples.context_of(graph, r=np.zeros(4), x=np.full(4, 3.0), d=np.zeros(0))
    done = examples.after(graph, examples.CHAIN, context)
    assert all(np.isfinite(row.scale_array).all() for row in done.rows.values())


def test_nearly_dead_channels_are_raised_until_their_bias_fits(examples):
    weights = np.array([[[[1.0]], [[0.5]]], [[[1e-12]], [[0.0]]]], np.float32)
    graph = examples.network("c = Conv(x, w, b)", w=weights, b=np.array([0.5, 3.0], np.float32))
    done = examples.after(graph, examples.CHAIN)
    scale = done.rows["c.in1"].scale
    assert scale[0] == pytest.approx(1 / 127)
    assert 3.0 / (scale[1] * done.rows["c.in0"].scale[0]) == pytest.approx(2.0**30, rel=1e-3)
    assert "1 channels raised" in done.rows["c.in1"].provenance
    zero = examples.network("c = Conv(x, w, b)", w=weights * [[[[1]]], [[[0]]]])
    rows = examples.after(zero, examples.CHAIN).rows
    assert rows["c.in1"].scale[0] == rows["c.in1"].scale[1]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"method": "entropy"}, UnknownNameError),
        ({"weights": "kl"}, UnknownNameError),
        ({"percentile": 50.0}, OptionError),
        ({"percentile": 100.5}, OptionError),
        ({"percentile": float("nan")}, OptionError),
    ],
)
def test_bad_options_are_refused(options, error, examples):
    _, graph, context = ready(examples)
    with pytest.raises(error):
        run_pass(graph, Calibrate(**options), context)


def test_the_record_names_the_profile(examples):
    _, graph, context = ready(examples)
    done = run_pass(graph, Calibrate(), context)
    assert done.history[-1].data_digest == profile_digest(context.profile)
    assert Calibrate().data_digest(PassContext()) == ""
    other = replace(context.profile, sample_count=2)
    assert profile_digest(other) != profile_digest(context.profile)


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse", "kl"])
@pytest.mark.parametrize("target", ["onnxruntime", "onnxruntime-int8", "x86-vnni"])
def test_one_profile_serves_every_method_and_target(method, target, examples):
    _, graph, context = ready(examples, target=target)
    digests = {
        graph_digest(examples.after(graph, [Calibrate(method), *examples.CHAIN[5:]], context))
        for _ in range(2)
    }
    assert len(digests) == 1
