"""Joint rounding: gains, grids, bad inputs, the same bytes, and when it is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from quantable.driver import api
from quantable.ir import OptionError, graph_digest
from quantable.ir.numerics import dequantize, quantize
from quantable.passes.tune.error import LayerNoise
from quantable.passes.tune.gptq import Gptq
from quantable.passes.tune.layer import Layer
from quantable.training import ReferenceLaboratory
from tests.passes.tune.conftest import layer_decisions

KINDS = [
    ("Conv", 1), ("Conv", 2), ("Conv", 4), ("ConvTranspose", 1), ("ConvTranspose", 2),
    ("quantable.Linear", 1),
]  # fmt: skip


def test_the_outputs_of_a_real_network_come_closer(real_case):
    case = real_case()
    done = case.after("gptq")
    decisions = layer_decisions(done)
    assert all(d.after < d.before for d in decisions if d.is_accepted)
    assert sum(d.is_accepted for d in decisions) > len(decisions) / 2
    assert case.noise(done) < 0.5 * case.noise(case.graph)


@pytest.mark.parametrize(("options", "density"), [("", 64), ("{rows=2}", 2)])
def test_coarse_weights_are_fitted_on_many_rows_unless_told(
    layer_case, monkeypatch, options, density
):
    asked = []
    real = ReferenceLaboratory.second_moments

    def spied(self, *given, **how):
        asked.append(how["rows"])
        return real(self, *given, **how)

    monkeypatch.setattr(ReferenceLaboratory, "second_moments", spied)
    layer_case().after(f"gptq{options}")
    assert asked == [density * 1024]


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize(("kind", "group"), KINDS)
def test_each_kind_of_layer_gains(layer_case, kind, group, granularity):
    case = layer_case(kind, group, granularity)
    done = case.after("gptq")
    decision = layer_decisions(done)[-1]
    assert decision.is_accepted
    assert "weights rounded another way" in decision.tried
    assert case.noise(done) < case.noise(case.graph)


@pytest.mark.parametrize(("kind", "group"), KINDS)
def test_scales_stay_where_they_are_to_and_without_them_less_is_gained(layer_case, kind, group):
    case = layer_case(kind, group)
    kept, whole = case.after("gptq{scales=0}"), case.after("gptq")
    assert kept.rows == case.graph.rows
    errors = [
        min(d.after for d in layer_decisions(graph) if d.is_accepted) for graph in (whole, kept)
    ]
    assert errors[0] < errors[1] < layer_decisions(kept)[0].before


def test_blocks_keep_their_scales_and_gain(layer_case):
    case = layer_case("quantable.Linear", 1, "block")
    done = case.after("gptq")
    assert layer_decisions(done)[-1].is_accepted
    assert case.noise(done) < 0.8 * case.noise(case.graph)
    config = done.operation_by_name["y"].config.inputs[1]
    row = done.rows[config.row]
    assert (config.policy.is_per_block, row) == (True, case.graph.rows[config.row])
    contents = done.array("w")
    assert np.array_equal(dequantize(quantize(contents, config, row), config, row), contents)
    case.after("correct-bias-sequentially")
    assert "an output has several, one a block" in case.context.remarks[-1][2]


@pytest.mark.parametrize(("kind", "group"), KINDS)
def test_the_integers_that_are_stored_are_exactly_the_contents(layer_case, kind, group):
    case = layer_case(kind, group)
    done = case.after("gptq")
    contents = done.array("w")
    config = done.operation_by_name["y"].config.inputs[1]
    row = done.rows[config.row]
    assert np.array_equal(dequantize(quantize(contents, config, row), config, row), contents)
    baked = api.refine(done, target=case.target).operation_by_name["y"].baked_parameter(1)
    stored = dequantize(done.store.get(baked.content), config, row)
    assert np.array_equal(stored, contents)


@pytest.mark.parametrize(("kind", "group"), KINDS)
@pytest.mark.parametrize("bias", [True, False])
def test_the_noise_of_a_decision_is_the_measured_one(layer_case, kind, group, bias):
    """All rows of few samples: moments tell what running the network does."""
    case = layer_case(kind, group, bias=bias)
    done = case.after("gptq")
    laboratory = case.context.laboratory
    held_out = [index for index in range(32) if index % 4 == 3]
    targets = laboratory.values(case.plain, ["y"], held_out)
    decisions = layer_decisions(done)
    last = next(d.after for d in reversed(decisions) if d.is_accepted)
    for graph, told in ((case.graph, decisions[0].before), (done, last)):
        assert laboratory.noise(graph, targets, held_out)["y"] == pytest.approx(told, rel=1e-3)
    values = laboratory.values(case.plain, ["x"], range(32))["x"]
    rows = laboratory.layer_rows(done, "y", values, values, held_out)
    layer = Layer.of(done, done.operation_by_name["y"])
    assert LayerNoise(layer, rows)(layer) == last


def test_the_bytes_do_not_depend_on_threads(real_case):
    case, digests = real_case(), set()
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        with threadpool_limits(threads):
            done = case.after("gptq{scales=4}")
        digests.add((graph_digest(done), done.history[-1].decisions))
    torch.set_num_threads(before)
    assert len(digests) == 1


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(["dead input", "constant", "few samples", "dead output", "zero", "outlier"]),
    st.sampled_from([("Conv", 1), ("Conv", 4), ("quantable.Linear", 1)]),
    st.integers(0, 1000),
)
def test_bad_inputs_give_finite_weights_that_are_none_worse(layer_case, what, layer, seed):
    kind, group = layer
    rng = np.random.Generator(np.random.Philox(seed))
    size = (16, 1, 5, 4) if kind == "quantable.Linear" else (16, 1, 4, 6, 6)
    x = rng.uniform(0, 1, size).astype(np.float32)
    channel = -1 if kind == "quantable.Linear" else 2
    shapes = {("Conv", 1): (8, 4, 3, 3), ("Conv", 4): (8, 1, 3, 3)}
    weights = rng.standard_normal(shapes.get(layer, (4, 8))).astype(np.float32)
    match what:
        case "dead input":
            np.moveaxis(x, channel, 0)[1] = 0.0
        case "constant":
            x[:] = 0.5
        case "few samples":
            x = x[:4, :, :1] if kind == "quantable.Linear" else x[:4]
        case "dead output":
            (weights if kind == "Conv" else weights.T)[3] = 0.0
        case "zero":
            weights[:] = 0.0
        case "outlier":
            weights.reshape(-1)[0] = 1e6
    if kind == "quantable.Linear":
        x = np.ascontiguousarray(np.broadcast_to(x, (len(x), 1, 5, 4)))
    case_ = layer_case(kind, group, samples=[{"x": sample} for sample in x], weights=weights)
    done = case_.after("search-scales", "gptq")
    for name in ("w", "b"):
        assert np.isfinite(done.array(name)).all()
    for record in done.history[-2:]:
        for decision in record.decisions:
            assert np.isfinite([decision.before, decision.after]).all()
            assert decision.is_accepted == (decision.after < decision.before)


def test_what_does_not_help_on_held_out_samples_is_refused(layer_case):
    rng = np.random.Generator(np.random.Philox(2))
    samples = []
    for index in range(16):
        x = np.zeros((1, 4, 6, 6), np.float32)
        used = slice(1, 4) if index % 4 == 3 else slice(0, 1)
        x[:, used] = rng.uniform(0, 1, x[:, used].shape)
        samples.append({"x": x})
    case = layer_case(samples=samples)
    done = case.after("gptq{damping=1e-9}")
    decisions = layer_decisions(done)
    assert len(decisions) == 2
    assert not any(d.is_accepted for d in decisions)
    assert graph_digest(done) == graph_digest(case.graph)


@pytest.mark.parametrize(
    "options", [{"damping": 0.0}, {"scales": -1}, {"least": 2.0}, {"rounds": -1}, {"rows": -1}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(OptionError, match="expected"):
        Gptq(**options).check()
