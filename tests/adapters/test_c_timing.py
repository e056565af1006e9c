"""Timed emitted code: every run and every step is counted, whatever the machine's speed."""

from __future__ import annotations

import pytest

from quantable.adapters.c_timing import TimedModel
from quantable.ir import UserError


def test_runs_and_steps(build):
    model = TimedModel(build, flags=("-O2",))
    runs = model.runs(5)
    assert runs.shape == (5,)
    assert (runs > 0).all()
    steps = model.steps(3)
    assert list(steps) == [layer["step"] for layer in model.manifest["layers"]]
    products = [layer["step"] for layer in model.manifest["layers"] if layer["macs"]]
    assert products
    assert all(steps[step] > 0 for step in products)


def test_the_peak_is_that_of_vectors_or_none(build):
    assert TimedModel(build, flags=("-O2",)).peak() == 0.0
    assert TimedModel(build, flags=("-O2", "-march=native")).peak() >= 0.0


def test_what_does_not_compile_is_refused(build):
    with pytest.raises(UserError, match="exit code"):
        TimedModel(build, flags=("-O2", "-ffast-math"))
