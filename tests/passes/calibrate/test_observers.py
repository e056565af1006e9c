"""Every observer does on a real network what its name promises, and refuses what it cannot use."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from quantable.ir import DataError, OptionError, Profile, UnknownNameError
from quantable.passes.base import run_pass
from quantable.passes.calibrate.blocks import consumer_blocks
from quantable.passes.calibrate.calibrate import Calibrate
from quantable.passes.calibrate.methods import METHODS, PINNED
from quantable.passes.calibrate.weights import WEIGHT_METHODS
from quantable.training import ReferenceLaboratory

NETWORK, TARGET = "dscnn_kws", "onnxruntime"
FLOATING = ("floating", "constant")
"""Observers of floating policies have tests of their own."""
LINEAR = [method for method in METHODS if method not in FLOATING]


def rows(case, method):
    """By value: the row that a method gives it, and its integer range."""
    ready = case.calibrated(case.context(TARGET), f'calibrate{{method="{method}"}}')
    found = {}
    for block in consumer_blocks(ready):
        op = ready.operation_by_name[block.owner.operation]
        is_input = block.owner.side == "in"
        value = (op.inputs if is_input else op.outputs)[block.owner.index]
        config = (op.config.inputs if is_input else op.config.outputs)[block.owner.index]
        row = ready.rows[block.row]
        low = (config.quant_min - row.zero_point[0]) * row.scale[0]
        found[value] = (low, low + (config.quant_max - config.quant_min) * row.scale[0], row)
    return found


@pytest.fixture(scope="module")
def measured(real):
    """The values of the float network on its calibration samples, and the rows of each method."""
    case = real(NETWORK)
    by_method = {method: rows(case, method) for method in LINEAR}
    laboratory = ReferenceLaboratory(case.samples)
    names = list(by_method["minmax"])
    return case, laboratory.values(case.plain, names, range(laboratory.count)), by_method


def error(values, found):
    """The squared error of a row, as the simulation has it."""
    low, high, row = found
    real = np.asarray(values, np.float64)
    steps = np.clip(np.rint(real / row.scale[0]), low / row.scale[0], high / row.scale[0])
    return float(np.square(steps * row.scale[0] - real).sum())


def test_minmax_cuts_nothing_off(measured):
    _, values, by_method = measured
    for name, (low, high, row) in by_method["minmax"].items():
        half = row.scale[0] / 2
        assert low - half <= values[name].min(), name
        assert values[name].max() <= high + half, name


def test_headroom_has_twice_the_range(measured):
    _, _, by_method = measured
    for name, (low, high, _) in by_method["headroom"].items():
        narrow = by_method["minmax"][name]
        assert high - low == pytest.approx(2 * (narrow[1] - narrow[0]), rel=0.02)


def test_percentile_cuts_off_the_share_that_it_says(measured):
    case, values, by_method = measured
    for name, (low, high, row) in by_method["percentile"].items():
        half = row.scale[0] / 2
        outside = np.mean((values[name] < low - half) | (values[name] > high + half))
        assert outside <= 2.2e-4, name
    tight = rows(case, "percentile")
    assert sum(t[1] - t[0] for t in tight.values()) < sum(
        m[1] - m[0] for m in by_method["minmax"].values()
    )


def test_mse_has_the_least_squared_error(measured):
    _, values, by_method = measured
    power = {name: np.square(array, dtype=np.float64).sum() for name, array in values.items()}
    total = {
        method: sum(error(values[name], found[name]) / power[name] for name in found)
        for method, found in by_method.items()
    }
    for method in ("minmax", "percentile", "kl", "headroom"):
        assert total["mse"] <= 1.03 * total[method], method
    assert total["mse"] < 0.9 * total["minmax"]


def test_kl_cuts_off_but_never_widens(measured):
    _, values, by_method = measured
    for name, (low, high, _) in by_method["kl"].items():
        smallest, largest = float(values[name].min()), float(values[name].max())
        assert high - low <= 1.05 * (max(largest, 0.0) - min(smallest, 0.0)) + 1e-6
        assert high - low > 0
    pairs = [(by_method["kl"][name], by_method["minmax"][name]) for name in values]
    assert any(kl[1] - kl[0] < 0.95 * (whole[1] - whole[0]) for kl, whole in pairs)


def test_weight_observers_order_as_their_names_say(real):
    case = real(NETWORK)
    errors = {}
    for method in set(WEIGHT_METHODS) - set(FLOATING):
        context = case.context("onnxruntime-w4a8")
        ready = case.calibrated(context, f'calibrate{{weights="{method}"}}')
        total = 0.0
        for op in ready.quantable_operations:
            if len(op.inputs) > 1 and op.config.inputs[1].bits == 4:
                scale = ready.rows[op.config.inputs[1].row].scale_array
                weights = ready.array(op.inputs[1]).astype(np.float64)
                shape = [-1 if axis == op.config.inputs[1].channel_axis else 1
                         for axis in range(weights.ndim)]  # fmt: skip
                steps = np.clip(np.rint(weights / scale.reshape(shape)), -7, 7)
                total += float((np.abs(steps * scale.reshape(shape) - weights) ** 2.4).sum())
        errors[method] = total
    assert errors["mse"] < 0.95 * errors["minmax"]


@pytest.mark.parametrize("method", [m for m in LINEAR if m not in PINNED])
def test_an_observer_refuses_a_profile_of_something_else(method, real):
    case = real(NETWORK)
    context = case.context(TARGET)
    ready = case.calibrated(context, "correct-bias")
    with pytest.raises(DataError, match="needs a profile, found none"):
        run_pass(ready, Calibrate(method), replace(context, profile=None))
    held = dict(case.profile.statistics)
    held.pop(ready.operations[0].outputs[0], None)
    held.pop(case.plain.inputs[0])
    thin = Profile(case.profile.graph_digest, case.profile.sample_count, held)
    with pytest.raises(DataError, match="the profile lacks"):
        run_pass(ready, Calibrate(method), replace(context, profile=thin))
    other = replace(case.profile, graph_digest="0" * 64)
    with pytest.raises(DataError, match="measured on another graph"):
        run_pass(ready, Calibrate(method), replace(context, profile=other))


def test_unknown_observers_and_shares_are_refused():
    with pytest.raises(UnknownNameError, match="did you mean percentile"):
        Calibrate(method="percentil").check()
    with pytest.raises(UnknownNameError, match="did you mean mse"):
        Calibrate(weights="msee").check()
    with pytest.raises(OptionError, match="percentile: expected more than 50"):
        Calibrate(method="percentile", percentile=40.0).check()


def test_all_parameters_are_calibrated_without_any_samples(examples):
    """What PPQ's ParameterQuantizePass does: weights and constants need no data."""
    graph = examples.network("c = Conv(x, w, b)\na = Add(c, k)\ny = Conv(a, w2, b2)")
    context = examples.context_of(graph)
    ready = examples.after(graph, (*examples.QUANTIZE, "calibrate"), context)
    for op in ready.quantable_operations:
        for index, name in enumerate(op.inputs):
            config = op.config.inputs[index]
            if ready.is_parameter(name) and config.observer:
                assert ready.rows[config.row].is_filled, (op.name, index)
                assert ready.rows[config.row].provenance.startswith("calibrate: ")
