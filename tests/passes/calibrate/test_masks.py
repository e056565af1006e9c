"""Ranges around attention masks."""

from __future__ import annotations

import numpy as np
import pytest

from quantable.passes.base import run_pass
from quantable.passes.calibrate.calibrate import Calibrate
from quantable.passes.calibrate.masks import MARGIN

LEAST = np.finfo(np.float32).min
SCORES = np.linspace(-2.0, 3.0, 101)


def ranges(examples, text, expected, **values):
    """Return the ends of the ranges of some slots after calibration."""
    given = {name: value for name, value in values.items() if name.startswith("mask")}
    graph = examples.network(text, **given)
    measured = {name: value for name, value in values.items() if name not in given}
    context = examples.context_of(graph, "c-portable", **measured)
    done = run_pass(examples.after(graph, examples.QUANTIZE, context), Calibrate(), context)
    found = []
    for name in expected:
        row = done.rows[name]
        operation, _, slot = name.rpartition(".")
        config = done.operation_by_name[operation].config
        held = (config.inputs if slot[:2] == "in" else config.outputs)[int(slot[-1])]
        low, high = held.quant_min - row.zero_point[0], held.quant_max - row.zero_point[0]
        found.append((low * row.scale[0], high * row.scale[0]))
    return found


def near(found, low, high):
    return found == (pytest.approx(low, abs=0.15), pytest.approx(high, abs=0.15))


@pytest.fixture(autouse=True)
def _parameters(examples, monkeypatch):
    monkeypatch.setitem(examples.network.__globals__["_PARAMETERS"], "mask", np.zeros(4))


def test_a_constant_mask(examples):
    mask = np.array([0, 0, LEAST, LEAST], np.float32)
    sums = np.concatenate([SCORES, SCORES + LEAST])
    text = "a = Add(x, mask)\ns = Softmax(a)\ny = Conv(s, w)"
    found = ranges(examples, text, ["a.in1", "a.out0"], mask=mask, x=SCORES, a=sums)
    assert found[0][0] == pytest.approx(-(5.0 + MARGIN), abs=0.15)
    assert near(found[1], -2.0 - MARGIN, 3.0)


def test_a_mask_that_is_computed_and_moved(examples):
    sums = np.concatenate([SCORES, SCORES + LEAST])
    computed = np.array([0, LEAST], np.float32)
    text = "m = Mul(z, mask)\nt = Transpose(m)\na = Add(x, t)\ns = Softmax(a)\ny = Conv(s, w)"
    values = {"mask": np.float32(LEAST), "z": [0, 1], "m": computed, "t": computed}
    found = ranges(examples, text, ["m.out0", "a.out0"], x=SCORES, a=sums, **values)
    assert near(found[0], -(5.0 + MARGIN), 0.0)
    assert near(found[1], -2.0 - MARGIN, 3.0)


def test_a_sum_that_something_else_reads_keeps_its_range(examples):
    sums = np.concatenate([SCORES, SCORES + LEAST])
    text = "a = Add(x, z)\ns = Softmax(a)\ny = Conv(s, w)\nu = Conv(a, w2)"
    (found,) = ranges(examples, text, ["a.out0"], x=SCORES, z=[0, LEAST], a=sums)
    assert found[0] < -1e37


def test_numbers_that_are_large_and_no_masks_keep_their_range(examples):
    text = "a = Add(x, z)\ns = Softmax(a)\ny = Conv(s, w)"
    large = [-1e20, 0.0, 1e20]
    (found,) = ranges(examples, text, ["a.out0"], x=SCORES, z=large, a=large)
    assert found[0] == pytest.approx(-1e20, rel=0.02)
