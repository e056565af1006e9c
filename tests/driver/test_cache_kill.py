"""Killed at any rename, a compilation with a cache leaves whole files and no stale entry."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from quantable.cli.main import main
from tests.driver.killed_compiles import check, kills, visible, words
from tests.driver.test_kill import _KILLED


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a compilation without a cache."""
    folder = tmp_path_factory.mktemp("clean") / "build"
    assert main(words(8, folder, None)) == 0
    return visible(folder)


def _killed(renames: int, folder: Path, clean: dict[str, bytes]) -> bool:
    """Kill at a rename to a visible file, check, finish; returns whether the kill came in time."""
    output, cache = folder / f"build{renames}", folder / f"cache{renames}"
    line = words(8, output, cache)
    command = [sys.executable, "-c", _KILLED, str(renames), str(folder), *line]
    code = subprocess.run(command, capture_output=True, check=False).returncode
    check(output, cache)
    assert main(line) == 0
    assert visible(output) == clean
    check(output, cache)
    return code == -signal.SIGKILL


@pytest.mark.parametrize("renames", [2, 25])
def test_a_killed_compile_is_finished_by_the_next(
    clean: dict[str, bytes], tmp_path: Path, renames: int
) -> None:
    assert _killed(renames, tmp_path, clean)


@pytest.mark.slow
def test_killed_at_every_fourth_rename(clean: dict[str, bytes], tmp_path: Path) -> None:
    renames = 0
    while _killed(renames, tmp_path, clean):
        renames += 4
    assert renames > 48


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    assert kills(12, tmp_path)["killed"] == 12
