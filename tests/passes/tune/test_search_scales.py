"""Scales by output error: what they gain, what they leave, and when they are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from quantable.ir import DataError, OptionError, graph_digest
from quantable.passes.tune.search_scales import SearchScales
from tests.passes.tune.conftest import layer_decisions


def test_the_outputs_of_a_real_network_come_closer(real_case):
    case = real_case()
    done = case.after("search-scales")
    decisions = layer_decisions(done)
    assert decisions
    assert all(d.after < d.before for d in decisions if d.is_accepted)
    assert case.noise(done) < 0.7 * case.noise(case.graph)


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize(
    ("kind", "group"),
    [("Conv", 1), ("Conv", 4), ("ConvTranspose", 1), ("ConvTranspose", 2), ("quantable.Linear", 1)],
)
def test_each_kind_of_layer_and_granularity(layer_case, kind, group, granularity):
    case = layer_case(kind, group, granularity)
    done = case.after("search-scales")
    decision = layer_decisions(done)[-1]
    assert decision.is_accepted
    assert decision.after < decision.before
    assert case.noise(done) < case.noise(case.graph)
    row = done.rows[done.operation_by_name["y"].config.inputs[1].row]
    assert row.provenance.startswith("search-scales: ")


def test_weights_on_a_grid_keep_their_scale(layer_case):
    rng = np.random.Generator(np.random.Philox(4))
    integers = rng.integers(-7, 8, (8, 4, 3, 3))
    integers[:, 0, 0, 0] = 7
    case = layer_case(weights=(integers * 0.125).astype(np.float32))
    assert case.after("search-scales").rows == case.graph.rows


def test_what_does_not_help_on_held_out_samples_is_refused(layer_case):
    """The samples that are fitted on use one channel, those that judge use the others."""
    case = layer_case(samples=contrary_samples())
    done = case.after("search-scales")
    for decision in layer_decisions(done):
        assert not decision.is_accepted
        assert decision.reason == "the error does not fall on held-out samples"
    assert len(layer_decisions(done)) == 2
    assert graph_digest(done) == graph_digest(case.graph)


def contrary_samples():
    rng = np.random.Generator(np.random.Philox(2))
    samples = []
    for index in range(16):
        x = np.zeros((1, 4, 6, 6), np.float32)
        used = slice(1, 4) if index % 4 == 3 else slice(0, 1)
        x[:, used] = rng.uniform(0, 1, x[:, used].shape)
        samples.append({"x": x})
    return samples


def test_a_bias_that_a_finer_scale_would_overflow_limits_it(layer_case):
    case = layer_case()
    op = case.graph.operation_by_name["y"]
    step = case.graph.rows[op.config.inputs[0].row].scale[0]
    scale = case.graph.rows[op.config.inputs[1].row].scale_array.astype(np.float64)
    huge = case.graph.store.put((step * scale * (1 << 30)).astype(np.float32))
    graph = replace(case.graph, parameters={**case.graph.parameters, "b": huge})
    done = replace(case, graph=graph).after("search-scales", "passive-parameters")
    assert (done.rows[op.config.inputs[1].row].scale_array >= scale.astype(np.float32)).all()


def test_rows_that_biases_are_derived_from_already_stay(layer_case):
    case = layer_case()
    done = case.after("passive-parameters", "search-scales")
    (remark,) = case.context.remarks
    assert remark[2] == "the weight stays: the row of its bias is derived from its own already"
    assert not layer_decisions(done)


def test_samples_are_needed(layer_case):
    case = layer_case()
    bare = replace(case, context=replace(case.context, laboratory=None))
    with pytest.raises(DataError, match="pass 'search-scales' needs calibration samples"):
        bare.after("search-scales")


@pytest.mark.parametrize("options", [{"candidates": 0}, {"least": 0.0}, {"least": 1.5}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(OptionError, match="expected"):
        SearchScales(**options).check()
