"""The process ends with everything written, and with the exit code of the command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RUN = "from quantable.cli.main import run; run()"


def started(*words: object, **how: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", RUN, *map(str, words)]
    return subprocess.run(command, text=True, check=False, **how)  # type: ignore[call-overload, no-any-return] # pass on


def test_what_was_printed_arrives_whole(build: Path) -> None:
    done = started("print", build / "06-plan.qir", "--complete", capture_output=True)
    assert done.returncode == 0
    assert done.stdout.startswith("quantable-text 1\n")
    assert done.stdout.endswith("\n")
    assert done.stdout.count("\noperation ") >= 5


@pytest.mark.parametrize(
    ("words", "code"), [(["verify", "none.qir"], 1), (["nonsense"], 2), (["--version"], 0)]
)
def test_the_exit_code_arrives(words: list[str], code: int) -> None:
    assert started(*words, capture_output=True).returncode == code


def test_nobody_reading_is_no_traceback(build: Path) -> None:
    command = [sys.executable, "-c", RUN, "print", str(build / "06-plan.qir")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate()
    assert process.returncode in (0, 1)
    assert b"Traceback" not in errors
