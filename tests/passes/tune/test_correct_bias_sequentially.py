"""Bias and scale of every output: what they gain, what stays, and when they are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from quantable.ir import graph_digest
from quantable.ir.numerics import quantize
from tests.passes.tune.conftest import inputs, layer_decisions


@pytest.mark.slow
def test_the_outputs_of_a_real_network_come_closer(real_case):
    case = real_case()
    parts = [
        case.after(f"correct-bias-sequentially{options}") for options in ("{scales=false}", "")
    ]
    for done in parts:
        decisions = layer_decisions(done)
        assert any(d.is_accepted for d in decisions)
        assert all(d.is_accepted == (d.after < d.before) for d in decisions)
    fitted = [d for d in layer_decisions(parts[1]) if "scales times" in d.tried]
    assert sum(d.is_accepted for d in fitted) > len(fitted) / 2
    found = [case.noise(part) for part in parts]
    assert max(found) < case.noise(case.graph), found


def test_it_makes_the_mean_of_every_output_what_it_is_in_the_float_network(layer_case):
    case = layer_case("Conv", samples=inputs("Conv", 16))
    done = case.after("correct-bias-sequentially{scales=false}")
    fitting = [index for index in range(16) if index % 4 != 3]
    laboratory = case.context.laboratory

    def means(graph):
        outputs = laboratory.values(graph, ["y"], fitting)["y"]
        return outputs.astype(np.float64).mean(axis=(0, 1, 3, 4))

    before, after = (np.abs(means(g) - means(case.plain)).max() for g in (case.graph, done))
    assert after < 1e-5 < 1e-2 < before


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize(
    ("kind", "group"), [("Conv", 1), ("Conv", 4), ("ConvTranspose", 2), ("quantable.Linear", 1)]
)
def test_fitted_scales_leave_the_integers(layer_case, kind, group, granularity):
    case = layer_case(kind, group, granularity)
    done = case.after("correct-bias-sequentially")
    config = case.graph.operation_by_name["y"].config.inputs[1]
    before, after = (
        quantize(graph.array("w"), config, graph.rows[config.row]) for graph in (case.graph, done)
    )
    assert np.array_equal(before, after)
    assert case.noise(done) < case.noise(case.graph)


def test_a_layer_without_a_bias_has_its_scales_fitted(layer_case):
    case = layer_case(bias=False)
    done = case.after("correct-bias-sequentially")
    (decision,) = layer_decisions(done)
    assert decision.is_accepted
    assert "scales times" in decision.tried


def test_what_does_not_help_on_held_out_samples_is_refused(layer_case):
    """The samples that are fitted on are the negatives of those that judge."""
    samples = inputs("Conv", 16)
    for index in range(16):
        if index % 4 == 3:
            samples[index] = {"x": -samples[index]["x"]}
    case = layer_case(samples=samples)
    done = case.after("correct-bias-sequentially{scales=false}")
    (decision,) = layer_decisions(done)
    assert not decision.is_accepted
    assert decision.reason
    assert graph_digest(done) == graph_digest(case.graph)


def test_a_bias_that_is_baked_stays(layer_case):
    case = layer_case()
    baked = case.after("passive-parameters", "bake")
    done = replace(case, graph=baked).after("correct-bias-sequentially")
    assert graph_digest(done) == graph_digest(baked)
