"""Ranges of digitized inputs: pixels that lie between all steps, and what is left alone."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantable.bench.datasets import NETWORKS
from quantable.driver import api
from quantable.ir import (
    DataError,
    OptionError,
    QuantizationParameters,
    QuantizationPolicy,
    Symmetry,
    TensorQuantizationConfig,
    graph_digest,
)
from quantable.ir.numerics import dequantize, quantize, scale_from_range
from quantable.passes.base import PassContext, run_pass
from quantable.passes.calibrate.calibrate_inputs import (
    LEAST_GAIN,
    MEASURE,
    CalibrateInputs,
    Levels,
)
from quantable.passes.network_noise import WHOLE
from quantable.passes.registry import PASSES
from quantable.targets import load_target
from quantable.training import ReferenceLaboratory

SHARED = Path(__file__).resolve().parents[3].parent / "shared"
UINT8 = TensorQuantizationConfig(
    QuantizationPolicy(symmetry=Symmetry.ASYMMETRIC), quant_min=0, quant_max=255
)


def between_steps(seed=0, count=16, scale=0.25):
    """Return samples of odd multiples of a quarter, which lie between steps of a half."""
    rng = np.random.Generator(np.random.Philox(seed))
    draws = (rng.integers(0, 255, (1, 2, 4, 4)) for _ in range(count))
    return [{"x": ((2 * draw + 1) * scale).astype(np.float32)} for draw in draws]


def calibrated(examples, text, samples, **values):
    graph = examples.network(text)
    context = examples.context_of(graph, **values)
    context.laboratory = ReferenceLaboratory(samples)
    return examples.after(graph, (*examples.QUANTIZE, "calibrate"), context), context


def test_the_example_holds(examples):
    item = CalibrateInputs()
    module = importlib.import_module(PASSES[item.name].module)
    laboratory = ReferenceLaboratory(between_steps())
    examples.check_example(module, item, (*examples.QUANTIZE, "calibrate"), laboratory)


def pixels(count, method):
    """Return (mobilenetv2, calibrated, its context); it is given (pixel - 127.5) / 127.5."""
    if not SHARED.is_dir():
        pytest.skip("needs the folder of shared networks beside the project")
    network = NETWORKS["mobilenetv2_keras"]
    graph = api.canonicalize(api.import_model(network.model(SHARED)))
    source = network.samples(SHARED, "calibration")
    samples = [{graph.inputs[0]: source.load(index)[None]} for index in range(count)]
    profile = api.observe(graph, samples)
    quantized = api.quantize(graph, "onnxruntime")
    pipeline = f'calibrate{{method="{method}"}},correct-bias'
    ready = api.optimize(quantized, pipeline, target="onnxruntime", profile=profile)
    laboratory = ReferenceLaboratory(samples)
    target = load_target("onnxruntime")
    return ready, PassContext(target=target, profile=profile, laboratory=laboratory)


def test_pixels_from_minus_one_to_one_are_not_all_half_a_step_away():
    ready, context = pixels(32, "minmax")
    done = run_pass(ready, CalibrateInputs(), context)
    local, whole = done.history[-1].decisions
    assert local.measure == MEASURE
    assert local.is_accepted
    assert local.after < 0.5 * local.before, "a uniform error has a third of it"
    assert (whole.measure, whole.subject) == (WHOLE, local.subject)
    assert whole.is_accepted == (whole.after < whole.before), "few samples say either"
    assert (done.rows == ready.rows) == (not whole.is_accepted)


@pytest.mark.slow
def test_many_samples_agree_that_pixels_should_lie_on_steps():
    ready, context = pixels(128, "mse")
    done = run_pass(ready, CalibrateInputs(), context)
    local, whole = done.history[-1].decisions
    assert local.is_accepted
    assert whole.is_accepted
    assert whole.after < 0.95 * whole.before
    assert graph_digest(run_pass(ready, CalibrateInputs(), context)) == graph_digest(done)


def test_pixels_that_lie_on_steps_stay(examples):
    samples = [{"x": sample["x"] + np.float32(0.25)} for sample in between_steps()]
    ready, context = calibrated(examples, "y = Conv(x, w, b)", samples)
    done = run_pass(ready, CalibrateInputs(), context)
    assert done.rows == ready.rows
    assert not done.history[-1].decisions


def test_what_takes_any_value_stays_and_a_remark_says_so(examples):
    rng = np.random.Generator(np.random.Philox(4))
    samples = [{"x": rng.uniform(0, 127, (1, 2, 40, 60)).astype(np.float32)} for _ in range(8)]
    ready, context = calibrated(examples, "y = Conv(x, w, b)", samples)
    done = run_pass(ready, CalibrateInputs(), context)
    assert done.rows == ready.rows
    text = "'x' takes one value, or more than 4,096 different ones"
    assert ("calibrate-inputs", "x", text) in context.remarks


def test_a_range_that_only_the_fitting_samples_like_is_refused(examples):
    samples = between_steps()
    for index in range(3, 16, 4):
        samples[index] = {"x": samples[index]["x"] + np.float32(0.25)}  # on the steps
    ready, context = calibrated(examples, "y = Conv(x, w, b)", samples)
    done = run_pass(ready, CalibrateInputs(), context)
    assert done.rows == ready.rows
    (decision,) = done.history[-1].decisions
    assert not decision.is_accepted
    assert decision.reason == f"the error does not fall by {LEAST_GAIN:.0%}"
    assert (decision.before, decision.measure) == (0.0, MEASURE)


def test_what_brings_the_input_to_the_first_layer_is_looked_through(examples):
    ready, context = calibrated(
        examples, "t = Transpose(x) {perm=[0, 1, 3, 2]}\ny = Conv(t, w, b)", between_steps()
    )
    done = run_pass(ready, CalibrateInputs(), context)
    changed = [name for name in done.rows if done.rows[name] != ready.rows[name]]
    assert len(changed) == 1
    assert done.rows[changed[0]].provenance.startswith("calibrate-inputs: ")


def test_values_behind_a_layer_are_not_looked_at(examples):
    ready, context = calibrated(examples, "c = Conv(x, w, b)\ny = Conv(c, w2, b2)", between_steps())
    done = run_pass(ready, CalibrateInputs(), context)
    subjects = {decision.tried.split(":")[0] for decision in done.history[-1].decisions[:-1]}
    assert subjects == {"'x'"}


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 300), st.floats(0.01, 100.0), st.integers(-300, 300), st.integers(0, 1 << 30))
def test_the_error_of_levels_is_that_of_the_elements(count, step, offset, seed):
    rng = np.random.Generator(np.random.Philox(seed))
    x = ((rng.integers(0, count, 500) + offset + 0.5) * step).astype(np.float32)
    scale, zero = scale_from_range(x.min(), x.max(), UINT8)
    row = QuantizationParameters("row").filled(scale, zero, "")
    levels = Levels(*np.unique(x, return_counts=True))
    exact = x.astype(np.float64)
    error = dequantize(quantize(x, UINT8, row), UINT8, row).astype(np.float64) - exact
    expected = np.square(error).sum() / np.square(exact).sum()
    assert levels.error(UINT8, row) == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_it_asks_for_samples_and_sound_options(examples):
    ready, context = calibrated(examples, "y = Conv(x, w, b)", between_steps())
    context.laboratory = None
    with pytest.raises(DataError, match="needs calibration samples, found none"):
        run_pass(ready, CalibrateInputs(), context)
    with pytest.raises(OptionError, match="widest: expected more than 1, at most 2, found 1"):
        run_pass(ready, CalibrateInputs(widest=1.0), context)
    with pytest.raises(OptionError, match="tried: expected at least 1, found 0"):
        run_pass(ready, CalibrateInputs(tried=0), context)
