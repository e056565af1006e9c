"""Runs the command line in this process, and prepares files of every stage once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from quantable.cli.main import main

DEMO = Path(__file__).resolve().parents[2] / "tools/quantable/demo"


@dataclass(frozen=True)
class Result:
    """What a command line left."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command line."""

    def call(*words: object) -> Result:
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's network, compiled for x86-vnni."""
    folder = tmp_path_factory.mktemp("cli") / "build"
    words = [
        "compile", DEMO / "digits.onnx", "--target", "x86-vnni", "--samples", 20, "--calibration",
        DEMO / "digits_calibration.npz", "--recipe", DEMO / "digits.toml", "-o", folder, "--quiet",
    ]  # fmt: skip
    assert main([str(word) for word in words]) == 0
    return folder
