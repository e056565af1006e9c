"""The adapter that runs emitted C in a program of its own: what it gives back, what it refuses.

`env` stands for an emulator: it runs a program of this machine.
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from quantable.adapters.c_compiler import CompiledModel, run_selftest
from quantable.adapters.c_program import ProgramModel, open_model
from quantable.adapters.c_runner import run_program
from quantable.ir import DataError, InternalError, UserError

CROSS = "aarch64-linux-gnu-gcc"


@pytest.fixture(scope="module")
def program(build):
    """The demo's network in a program of its own."""
    return open_model(build, compiler="gcc", flags=("-O1",), runner=("env",))


def _inputs(model, count):
    random = np.random.default_rng(4)
    return {
        t.value: random.integers(0, 256, (count, *t.shape)).astype(t.dtype) for t in model.inputs
    }


def test_a_program_gives_what_code_in_this_process_gives(build, program):
    here = open_model(build, flags=("-O1",))
    assert isinstance(here, CompiledModel)
    assert isinstance(program, ProgramModel)
    inputs = _inputs(program, 3)
    expected, found = here.run(inputs), program.run(inputs)
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    one = program.run({name: array[1] for name, array in inputs.items()})
    for name, array in expected.items():
        np.testing.assert_array_equal(one[name], array[1])


def test_a_program_refuses_other_shapes(program):
    (name, array), *_ = _inputs(program, 2).items()
    with pytest.raises(DataError, match="expected uint8"):
        program.run({name: array[..., :1]})


def test_the_self_test_runs_under_a_runner(build):
    passed, said = run_selftest(build, flags=("-O1",), runner=("env",))
    assert passed, said


def test_a_program_that_fails_is_told(build):
    model = open_model(build, compiler="gcc", flags=("-O0",), runner=("false",))
    with pytest.raises(InternalError, match="the program ended with code 1"):
        model.run(_inputs(model, 1))


def test_a_missing_emulator_is_told_with_its_package(build):
    with pytest.raises(UserError, match=r"no emulator 'qemu-z80'.*\n.*install qemu-user"):
        run_selftest(build, runner=("qemu-z80", "-cpu", "max"))
    with pytest.raises(UserError, match=r"no emulator 'no-such'.*\n  help: .*name another one$"):
        ProgramModel(build, compiler="gcc", runner=("no-such",))


def test_an_instruction_that_the_processor_has_not_is_told(tmp_path):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nkill -ILL $$\n", "utf-8")
    program.chmod(0o755)
    with pytest.raises(UserError, match=r"the processor, this one, has not\n.*-cpu max"):
        run_program([], program)
    env = shutil.which("env")
    with pytest.raises(UserError, match=r"the processor, the one of '.*env', has not"):
        run_program([str(env)], program)


def test_a_program_of_another_machine_is_told(tmp_path):
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF" + bytes(60))
    program.chmod(0o755)
    with pytest.raises(UserError, match=r"code for another machine\n.*--runner qemu-aarch64"):
        run_program([], program)


@pytest.mark.slow
def test_code_of_another_machine_is_told(build):
    if shutil.which(CROSS) is None:
        pytest.skip(f"needs {CROSS}")
    with pytest.raises(UserError, match="code for another machine"):
        CompiledModel(build, compiler=CROSS, flags=("-O0",))
    with pytest.raises(UserError, match="code for another machine"):
        run_selftest(build, compiler=CROSS, flags=("-O0",))
    if shutil.which("qemu-aarch64"):
        with pytest.raises(UserError, match=r"runs no programs of this compiler: .*ELF image"):
            run_selftest(build, compiler="gcc", flags=("-O0",), runner=("qemu-aarch64",))
