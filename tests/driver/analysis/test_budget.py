"""The parts of the budget add up, and the cause that was planted is the one that is named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from quantable.driver.analysis.analyze import analyze
from quantable.driver.analysis.budget import CATEGORIES, Budget
from quantable.driver.analysis.forms import rerun
from quantable.driver.analysis.grids import FINE_BITS, Place, beyond, refined, with_refined
from quantable.driver.analysis.rows import with_row
from quantable.driver.analysis.subject import Subject, pairs, subject
from quantable.driver.data import Samples
from quantable.ir import Graph, QuantizationParameters, TensorQuantizationConfig
from quantable.ir.numerics import rounded


def budget_of(about: Subject) -> dict[str, object]:
    found = Budget(about)
    for pair in pairs(about):
        found.add(pair)
    return found.facts()


@pytest.mark.parametrize("which", ["digits_subject", "resnet8_subject"])
def test_the_parts_add_up_to_the_networks_noise(which: str, request: pytest.FixtureRequest) -> None:
    about: Subject = request.getfixturevalue(which)
    facts = analyze(about.graph, about.samples, only=["budget"]).facts()
    budget, (outputs,) = facts["budget"], facts["outputs"].values()
    network = 10 ** (-outputs["sqnr_db"] / 10)
    by_tensor = sum(sum(entry["noise"].values()) for entry in budget["tensors"])
    assert budget["noise"] == pytest.approx(network, rel=1e-9)
    assert sum(budget["categories"].values()) == pytest.approx(network, rel=1e-9)
    assert by_tensor == pytest.approx(network, rel=1e-9)
    assert sum(entry["share"] for entry in budget["tensors"]) == pytest.approx(1.0)
    assert set(budget["categories"]) == set(CATEGORIES)


def test_the_last_step_is_the_quantized_network(digits_subject: Subject) -> None:
    steps = Budget(digits_subject).steps
    for pair in pairs(digits_subject):
        values = dict(pair.real)
        for step in steps:
            changed = {step.place.operation}
            values.update(rerun(values, changed, step.form, digits_subject.float_form))
        assert all(np.array_equal(values[name], pair.quantized[name]) for name in values)


def blamed(graph: Graph, samples: Samples) -> tuple[str, dict[str, float]]:
    facts = budget_of(subject(graph, samples))
    shares: dict[str, float] = facts["shares"]  # type: ignore[assignment] # JSON values
    return max(shares, key=lambda name: shares[name]), shares


def quartered(graph: Graph, row: str) -> Graph:
    """Clip a tensor: a quarter of the range, the same number of steps."""
    held = graph.rows[row]
    smaller = held.filled(held.scale_array / 4, held.zero_point_array, "test")
    return with_row(graph, smaller, lambda config: config)[0]


def coarse(graph: Graph, row: str) -> Graph:
    """Take 3 bits for the same range."""

    def narrow(config: TensorQuantizationConfig) -> TensorQuantizationConfig:
        return replace(config, bits=3, quant_min=-3, quant_max=3)

    held = graph.rows[row]
    bigger = held.filled(held.scale_array * np.float32(127 / 3), held.zero_point_array, "test")
    return with_row(graph, bigger, narrow)[0]


def test_a_range_that_is_too_small_is_blamed_on_clipping(
    digits: Graph, digits_samples: Samples
) -> None:
    row = next(name for name in digits.rows if name.endswith("Clip.out0"))
    name, shares = blamed(quartered(digits, row), digits_samples)
    assert name == "activation_clipping"
    assert shares[name] > 0.9


def test_weights_with_few_bits_are_blamed_on_their_rounding(
    digits: Graph, digits_samples: Samples
) -> None:
    row = next(name for name in digits.rows if name.endswith("Conv.in1"))
    name, shares = blamed(coarse(digits, row), digits_samples)
    assert name == "weight_rounding"
    assert shares[name] > 0.9


def test_weights_beyond_their_range_are_blamed_on_clipping(
    digits: Graph, digits_samples: Samples
) -> None:
    row = next(name for name in digits.rows if name.endswith("Conv.in1"))
    name, _ = blamed(quartered(digits, row), digits_samples)
    assert name == "weight_clipping"


def changed(graph: Graph, kind: str, slot: int, *, is_float: bool) -> Graph:
    """Change a parameter as a pass would; quantized as before, or not at all."""
    op = next(op for op in graph.quantable_operations if op.kind == kind)
    held = graph.array(op.inputs[slot]).astype(np.float32)
    new = graph.store.put(held + np.float32(0.5) * np.abs(held).max())
    op = op.unbake_parameters()
    if is_float:
        op = op.with_slot("in", slot, TensorQuantizationConfig())
    graph = graph.with_operation(op)
    return replace(graph, parameters={**graph.parameters, op.inputs[slot]: new})


@pytest.mark.parametrize("is_float", [False, True])
@pytest.mark.parametrize(
    ("kind", "slot", "category"),
    [("quantable.Linear", 2, "correction"), ("quantable.Linear", 1, "weight_rounding")],
)
def test_what_passes_did_to_a_parameter_is_counted_quantized_or_not(
    digits: Graph, digits_samples: Samples, kind: str, slot: int, category: str, is_float: bool
) -> None:
    graph = changed(digits, kind, slot, is_float=is_float)
    facts = analyze(graph, digits_samples, only=["budget"]).facts()
    budget = facts["budget"]
    assert budget["noise"] == pytest.approx(10 ** (-facts["network_db"] / 10), rel=1e-9)
    shares = budget["shares"]
    assert max(shares, key=lambda name: shares[name]) == category


@pytest.mark.parametrize("low_high", [(-128, 127), (0, 255), (-7, 7)])
def test_a_finer_grid_clips_alike_and_hardly_rounds(low_high: tuple[int, int]) -> None:
    config = TensorQuantizationConfig(quant_min=low_high[0], quant_max=low_high[1])
    row = QuantizationParameters("r", (0.25,), (3,))
    values = np.random.default_rng(2).normal(0, 40, 1000).astype(np.float32)
    finer, fine_row = refined(config, row, FINE_BITS)
    ends = [(end - 3) * 0.25 for end in low_high]
    found = rounded(values, finer, fine_row)
    assert np.abs(found - np.clip(values, *ends)).max() <= 0.25 * 2.0**-FINE_BITS
    is_beyond = beyond(values, config, row)
    assert np.array_equal(is_beyond, (values < ends[0]) | (values > ends[1]))
    assert set(found[is_beyond].tolist()) <= {*ends}


def test_the_end_that_a_scale_was_made_from_is_not_clipped() -> None:
    config = replace(TensorQuantizationConfig(), quant_min=-127)
    for weights in np.random.default_rng(3).normal(size=(64, 8)).astype(np.float32):
        row = QuantizationParameters("r").filled(np.abs(weights).max() / 127, 0, "test")
        assert not beyond(weights, config, row).any()
        assert beyond(weights * np.float32(1.01), config, row).any()


def test_a_refined_parameter_is_its_original(digits: Graph) -> None:
    op = next(op for op in digits.quantable_operations if op.kind == "Conv")
    place = Place(op.name, "in", 1)
    changed = with_refined(digits, place, FINE_BITS)
    original = op.original(1)
    assert original is not None
    assert changed.parameters[op.inputs[1]] == original
    assert place.config(changed).state.is_in_force
    assert place.config(digits).state.is_baked  # the graph that was given is as it was
