"""A remedy that fits the planted fault is the one that helps, and its gain is what was measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from quantable.driver.analysis.analyze import Analysis, analyze
from quantable.driver.analysis.budget import Budget
from quantable.driver.analysis.grids import Place
from quantable.driver.analysis.remedies import REMEDIES, Remedies
from quantable.driver.analysis.rows import with_row
from quantable.driver.data import Samples
from quantable.ir import Granularity, Graph, graph_digest

Trials = dict[tuple[str, str], float]


def trials(found: Analysis) -> Trials:
    """Return the gain by (remedy, tensor)."""
    rows = found.facts()["remedies"]
    return {(row["remedy"], row["tensor"]): row["gain_db"] for row in rows}


def gains(graph: Graph, samples: Samples) -> Trials:
    return trials(analyze(graph, samples, only=["remedies"]))


@pytest.fixture(scope="module")
def of_digits(digits: Graph, digits_samples: Samples) -> Analysis:
    return analyze(digits, digits_samples, only=["layerwise", "remedies"])


def test_a_float_operation_gains_what_leaving_it_out_gains(of_digits: Analysis) -> None:
    found = trials(of_digits)
    shares = {share["group"]: share for share in of_digits.facts()["layerwise"]}
    graph = of_digits.subject.graph
    compared = 0
    for group in of_digits.subject.groups:
        output = graph.operation_by_name[group.operations[-1]].outputs[0]
        if ("float_operation", output) in found:
            gain = shares[group.name]["gain_db"]
            assert found["float_operation", output] == pytest.approx(gain)
            compared += 1
    assert compared >= 3


def test_the_graph_that_was_given_is_as_it_was(digits: Graph, of_digits: Analysis) -> None:
    assert graph_digest(of_digits.subject.graph) == graph_digest(digits)
    assert {remedy for remedy, _ in trials(of_digits)} >= {"int16", "float_operation"}


def test_a_wider_range_heals_a_range_that_is_too_small(
    digits: Graph, digits_samples: Samples
) -> None:
    name = next(name for name in digits.rows if name.endswith("Clip.out0"))
    held = digits.rows[name]
    small = held.filled(held.scale_array / 4, held.zero_point_array, "test")
    found = gains(with_row(digits, small, lambda config: config)[0], digits_samples)
    wider = max(gain for (remedy, _), gain in found.items() if remedy == "wider_range")
    assert wider > 6


def per_tensor(graph: Graph, operation: str) -> Graph:
    """Give the weights of an operation one scale, 30 times what most channels need."""
    op = graph.operation_by_name[operation]
    row = graph.rows[Place(op.name, "in", 1).config(graph).row]
    single = row.filled([max(row.scale) * 30], 0, "test")

    def flat(config):  # type: ignore[no-untyped-def] # a config
        policy = replace(config.policy, granularity=Granularity.PER_TENSOR)
        return replace(config, policy=policy, channel_axis=None)

    changed, _ = with_row(graph, single, flat)
    op = changed.operation_by_name[operation]
    bias = op.config.inputs[2]  # type: ignore[attr-defined] # quantable
    policy = replace(bias.policy, granularity=Granularity.PER_TENSOR)
    plain = replace(bias, policy=policy, channel_axis=None)
    return changed.with_operation(op.with_slot("in", 2, plain))  # type: ignore[attr-defined] # quantable


def test_scales_for_channels_heal_weights_with_one_scale(
    digits: Graph, digits_samples: Samples
) -> None:
    conv = next(op for op in digits.quantable_operations if op.kind == "Conv")
    found = gains(per_tensor(digits, conv.name), digits_samples)
    assert found["per_channel", conv.inputs[1]] > 6
    assert found["int16", conv.inputs[1]] > 6


def test_bias_correction_heals_a_shifted_bias(digits: Graph, digits_samples: Samples) -> None:
    linear = next(op for op in digits.quantable_operations if op.kind == "quantable.Linear")
    bias = linear.inputs[2]
    shifted = digits.store.put(digits.array(bias).astype(np.float32) + np.float32(0.5))
    unbaked = digits.with_operation(linear.unbake_parameters())
    graph = replace(unbaked, parameters={**unbaked.parameters, bias: shifted})
    found = analyze(graph, digits_samples, only=["remedies", "shifts"])
    assert trials(found)["bias_correction", bias] > 6
    shifts = {entry["operation"]: entry for entry in found.facts()["shifts"]}
    assert shifts[linear.name]["largest"] == pytest.approx(0.5, rel=0.2)
    assert shifts[linear.name]["share"] > 0.9


def test_only_so_many_tensors_are_looked_at(of_digits: Analysis) -> None:
    about = of_digits.subject
    budget, shifts = Budget(about), _NoShifts()
    few = Remedies(about, budget, shifts, places=1)  # type: ignore[arg-type] # a double
    many = Remedies(about, budget, shifts, places=4)  # type: ignore[arg-type] # a double
    assert 0 < len(few.trials) < len(many.trials)
    assert {trial.remedy for trial in many.trials} <= set(REMEDIES)


class _NoShifts:
    """No operation has an average error."""

    def means(self) -> dict[str, object]:
        return {}
