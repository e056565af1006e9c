"""Isotone calibration keeps the order of the largest outputs, or leaves the row as it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantable.ir import (
    DataError,
    OptionError,
    QuantizationParameters,
    QuantizationPolicy,
    Symmetry,
    TensorQuantizationConfig,
    UnknownNameError,
)
from quantable.ir.numerics import scale_from_range
from quantable.passes.base import run_pass
from quantable.passes.calibrate.calibrate import Calibrate
from quantable.passes.calibrate.isotone import isotone_row, kept_order, top_2
from quantable.passes.calibrate.isotone_calibration import MEASURE, IsotoneCalibration
from quantable.training import ReferenceLaboratory

NARROW = TensorQuantizationConfig(
    QuantizationPolicy(symmetry=Symmetry.ASYMMETRIC), 4, 0, 0, 15
)  # fmt: skip


def row_of(low, high, config=NARROW):
    scale, zero = scale_from_range(np.asarray([low]), np.asarray([high]), config)
    return QuantizationParameters("r").filled(scale, zero, "test")


def test_the_two_largest_along_an_axis():
    values = np.array([[[1.0, 5.0, 3.0]], [[-2.0, -1.0, -7.0]]])
    assert top_2(values, -1).tolist() == [[5.0, 3.0], [-1.0, -2.0]]
    assert top_2(values, 0).tolist() == [[1.0, -2.0], [5.0, -1.0], [3.0, -7.0]]


def test_a_grid_keeps_the_order_where_its_steps_are_small_and_its_end_is_far():
    pairs = np.array([[1.0, 0.9], [1.0, 0.2], [9.0, 8.0], [3.0, 3.0]], np.float32)
    assert kept_order(pairs, NARROW, row_of(0.0, 1.5)).tolist() == [True, True, False, True]
    assert kept_order(pairs, NARROW, row_of(0.0, 15.0)).tolist() == [False, True, True, True]


def test_the_chosen_row_clips_an_outlier_that_hides_the_order():
    random = np.random.default_rng(2)
    values = random.uniform(0, 1, (64, 10)).astype(np.float32)
    values[0, 0] = 30.0
    present = row_of(0.0, 30.0)
    found = isotone_row(values, -1, NARROW, present, "isotone")
    pairs = top_2(values, -1)
    kept = [int(kept_order(pairs, NARROW, row).sum()) for row in (present, found)]
    assert kept[1] > kept[0] + 10
    assert found.provenance == "isotone"


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), spread=st.sampled_from([0.0, 1e-3, 1.0, 1e4]))
def test_it_never_keeps_fewer_than_the_present_row(seed, spread):
    random = np.random.default_rng(seed)
    values = random.normal(0, spread, (12, 5)).astype(np.float32)
    present = row_of(*np.sort(random.normal(0, spread + 1e-6, 2)))
    found = isotone_row(values, -1, NARROW, present, "isotone")
    pairs = top_2(values, -1)
    assert kept_order(pairs, NARROW, found).sum() >= kept_order(pairs, NARROW, present).sum()
    assert np.isfinite(found.scale_array).all()


@pytest.fixture(scope="module")
def four_bit_logits(real):
    """resnet8 with its logits in 4 bits and a range that extrema give, behind them a Softmax."""
    case = real("resnet8")
    context = case.context("c-portable")
    output = case.plain.outputs[0]
    softmax = case.plain.producers[output]
    logits = case.plain.producers[softmax.inputs[0]].name
    schemes = (f"{logits}.out0=narrow",)
    return case, context, case.calibrated(context, 'calibrate{method="minmax"}', schemes), logits


def test_a_real_network_gives_more_of_its_answers(four_bit_logits):
    case, context, ready, logits = four_bit_logits
    done = run_pass(ready, IsotoneCalibration(), context)
    (decision,) = done.history[-1].decisions
    assert decision.measure == MEASURE
    assert decision.subject == (logits,)
    assert decision.is_accepted
    assert decision.after < decision.before
    (row,) = [name for name in done.rows if done.rows[name] != ready.rows[name]]
    assert row == f"{logits}.out0"
    value = case.plain.operation_by_name[logits].outputs[0]
    expected = case.logits(case.plain, value).argmax(axis=1)
    answers = []
    for graph in (ready, done):
        found = case.logits(graph, value)
        alone = (found == found.max(axis=1, keepdims=True)).sum(axis=1) == 1
        answers.append(int((alone & (found.argmax(axis=1) == expected)).sum()))
    assert answers[1] > answers[0], "on samples that nothing was chosen on"


def test_wide_logits_keep_their_row(real):
    case = real("resnet8")
    context = case.context("c-portable")
    ready = case.calibrated(context)
    done = run_pass(ready, IsotoneCalibration(), context)
    assert done.rows == ready.rows
    assert not any(decision.is_accepted for decision in done.history[-1].decisions)


def test_outputs_without_a_row_are_named(examples):
    graph = examples.network("c = Conv(x, w, b)\ny = Conv(c, w2, b2)")
    context = examples.context_of(graph, "onnxruntime")
    context.laboratory = ReferenceLaboratory([{"x": np.ones((1, 2, 4, 4), np.float32)}] * 8)
    ready = examples.after(graph, (*examples.QUANTIZE, "calibrate"), context)
    done = run_pass(ready, IsotoneCalibration(), context)
    assert done.rows == ready.rows
    (remark,) = [r for r in context.remarks if r[0] == "isotone-calibration"]
    assert remark[1:] == (
        "output 'y'", "no calibrated row of its own: it is float, fixed, or baked"
    )  # fmt: skip


def test_what_it_cannot_use_is_refused(four_bit_logits, examples):
    case, context, ready, _ = four_bit_logits
    with pytest.raises(UnknownNameError, match="unknown output 'none'"):
        run_pass(ready, IsotoneCalibration(outputs=("none",)), context)
    with pytest.raises(OptionError, match="axis 0: expected an axis with at least two numbers"):
        run_pass(ready, IsotoneCalibration(axis=0), context)
    with pytest.raises(OptionError, match="axis 7: expected an axis"):
        run_pass(ready, IsotoneCalibration(axis=7), context)
    with pytest.raises(DataError, match="needs calibration samples"):
        run_pass(ready, IsotoneCalibration(), examples.context_of(case.plain))
    with pytest.raises(OptionError, match=r"'isotone' needs the samples.*\n.*isotone-calibration"):
        Calibrate(method="isotone").check()
