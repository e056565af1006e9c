"""Killed at any moment, a compilation leaves each file as it was or as it should be."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from quantable.cli.main import main
from quantable.driver.emission import changed_files, read_manifest
from tests.driver.conftest import Digits

_KILLED = """
import os, signal, sys
from quantable.cli.main import main
left, folder, real = int(sys.argv[1]), sys.argv[2], os.replace
def replace(source, target, **options):
    global left
    if os.fspath(target).startswith(folder) and "/." not in os.fspath(target)[len(folder):]:
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
    return real(source, target, **options)
os.replace = replace
sys.exit(main(sys.argv[3:]))
"""


def _words(digits: Digits, samples: int, output: Path) -> list[str]:
    return [
        "compile", str(digits.model), "--target", "x86-vnni", "--recipe", str(digits.recipe),
        "--calibration", str(digits.calibration), "--samples", str(samples), "-o", str(output),
    ]  # fmt: skip


def _killed_at(digits: Digits, renames: int, output: Path) -> int:
    """Compile, and end the process at a rename to a visible file; return its exit code."""
    words = _words(digits, 8, output)
    command = [sys.executable, "-c", _KILLED, str(renames), str(output), *words]
    return subprocess.run(command, capture_output=True, check=False).returncode


def _files(folder: Path) -> dict[str, bytes]:
    """Every file that has a name of its own; what a kill leaves behind begins with a dot."""
    found = (path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder): path for path in found}
    return {
        name.as_posix(): path.read_bytes()
        for name, path in names.items()
        if not any(part.startswith(".") for part in name.parts)
    }


@pytest.fixture(scope="module")
def builds(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two builds that differ in their scales: the old and the new one."""
    folder = tmp_path_factory.mktemp("builds")
    for name, samples in (("old", 2), ("new", 8)):
        assert main(_words(digits, samples, folder / name)) == 0
    return folder / "old", folder / "new"


def _check(digits: Digits, builds: tuple[Path, Path], output: Path, renames: int) -> bool:
    """Kill at a rename and compare; returns whether the kill came before the end."""
    shutil.rmtree(output, ignore_errors=True)
    shutil.copytree(builds[0], output)
    code = _killed_at(digits, renames, output)
    old, new = _files(builds[0]), _files(builds[1])
    found = _files(output)
    assert set(found) >= set(old) & set(new)
    assert [name for name in found if found[name] not in (old.get(name), new.get(name))] == []
    mixed = changed_files(output, read_manifest(output))
    emitted = [name for name in read_manifest(builds[1])["files"] if old[name] != new[name]]
    if mixed:
        assert set(mixed) <= set(emitted), "the manifest shows a mixture of builds"
    return code == -signal.SIGKILL


@pytest.mark.parametrize("renames", [3, 15])
def test_a_killed_compile_leaves_old_or_new_files(
    digits: Digits, builds: tuple[Path, Path], tmp_path: Path, renames: int
) -> None:
    assert _check(digits, builds, tmp_path / "build", renames)


@pytest.mark.slow
def test_a_compile_killed_at_every_rename(
    digits: Digits, builds: tuple[Path, Path], tmp_path: Path
) -> None:
    renames = 0
    while _check(digits, builds, tmp_path / "build", renames):
        renames += 1
    assert renames > 20
    assert _files(tmp_path / "build") == _files(builds[1])


def test_a_killed_first_compile_leaves_whole_files(
    digits: Digits, builds: tuple[Path, Path], tmp_path: Path
) -> None:
    output = tmp_path / "build"
    assert _killed_at(digits, 6, output) == -signal.SIGKILL
    found, new = _files(output), _files(builds[1])
    assert found
    assert all(found[name] == new[name] for name in found)
