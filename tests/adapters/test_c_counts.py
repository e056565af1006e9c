"""Counts of instructions: the same in every run, and those of a loop whose length is known."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from quantable.adapters.c_counts import count_instructions
from quantable.adapters.c_program import ProgramModel
from quantable.bench.instructions import table
from quantable.ir import UserError

pytestmark = pytest.mark.slow
GCC, NM, EMULATOR = "aarch64-linux-gnu-gcc", "aarch64-linux-gnu-nm", "qemu-aarch64"


@pytest.fixture(scope="module")
def model(build):
    missing = [name for name in (GCC, EMULATOR) if shutil.which(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    return ProgramModel(build, compiler=GCC, flags=("-O1",), runner=(EMULATOR,))


def _inputs(model, count):
    return {t.value: np.zeros((count, *t.shape), t.dtype) for t in model.inputs}


def test_every_step_is_counted_the_same_in_every_run(model):
    once, again = (count_instructions(model, _inputs(model, 1), nm=NM) for _ in "ab")
    assert once == again
    layers = model.manifest["layers"]
    assert all(once[layer["step"]] >= layer["macs"] for layer in layers if layer["macs"])
    twice = count_instructions(model, _inputs(model, 2), nm=NM)
    assert all(2 * count == twice[step] for step, count in once.items())
    assert str(sum(once.values())) in table(model.manifest, once)[-1]


def test_what_is_missing_is_told(model, build):
    with pytest.raises(UserError, match="no program 'no-such-nm'"):
        count_instructions(model, _inputs(model, 1), nm="no-such-nm")
    here = ProgramModel(build, compiler="gcc", flags=("-O0",), runner=("env",))
    with pytest.raises(UserError, match=r"expected an emulator of QEMU, found '.*env'"):
        count_instructions(here, _inputs(here, 1), nm="nm")
