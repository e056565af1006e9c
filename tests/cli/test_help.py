"""Help texts, usage errors, start-up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from quantable.cli.main import COMMANDS
from tests.cli.conftest import Run

HEAVY = ("torch", "onnx", "onnxruntime", "sklearn")


def test_help_lists_every_command_with_its_sentence(run: Run) -> None:
    result = run("--help")
    assert result.code == 0
    for name, sentence in COMMANDS.items():
        assert f"  {name}" in result.out
        assert sentence in result.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(run: Run, command: str) -> None:
    result = run(command, "--help")
    assert result.code == 0
    assert "Example:" in result.out
    assert f"quantable {command}" in result.out.split("Example:")[1]
    assert "--json" in result.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(run: Run, command: str) -> None:
    options = run(command, "--help").out.split("Options:")[1]
    for line in options.splitlines():
        if line.startswith("  -") and "  " not in line.strip():
            raise AssertionError(f"quantable {command}: no help for {line.strip()}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["improt"], "did you mean import"),
        (["import"], "Missing argument"),
        (["import", "a.onnx"], "Missing option '-o'"),
        (["quantize", "a.qir", "-o", "b.qir"], "Missing option '--target'"),
        (["import", "a.onnx", "--ouptut", "b.qir"], "--output"),
        (["opt", "a.qir"], "give either --passes or --replay"),
        (["list", "pass"], "'pass' is not one of"),
        (["list", "passes", "--target", "x86-vnni"], "--target goes with"),
        (["observe", "a.qir", "--data", "d.npz", "-o", "b", "--samples", "x"], "valid integer"),
        (
            ["compile", "a", "--target", "t", "--profile", "p", "--pipeline", "x", "-o", "b"],
            "expected STAGE=PASSES",
        ),
    ],
)
def test_usage_errors_are_exit_code_2(run: Run, words: list[str], message: str) -> None:
    result = run(*words)
    assert result.code == 2
    assert message in result.err
    assert result.out == ""


def _imported(code: str, *words: str) -> list[str]:
    script = (
        f"import sys; {code}; print(*sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=True
    )
    return done.stderr.split()


_RUN = "from quantable.cli.main import main; assert main(sys.argv[1:]) == 0"


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["print", "02-quantize.qir"],
        ["diff", "04-opt.qir", "04-opt.qir", "--html", "page.html"],
        ["verify", "00-import.qir", "06-plan.qir", "calibration.qprof"],
        *(["list", what] for what in ("passes", "targets", "operations", "stages")),
        ["quantize", "01-opt.qir", "--target", "c-portable", "-o", "again.qir"],
    ],
    ids=" ".join,
)
def test_light_commands_start_without_torch_and_onnx(build: Path, words: list[str]) -> None:
    assert _imported(f"import os; os.chdir({str(build)!r}); {_RUN}", *words) == []
    (build / "again.qir").unlink(missing_ok=True)


def test_the_measure_sees_torch(tmp_path: Path) -> None:
    words = ["run", str(tmp_path / "none.qir"), "--data", "x"]
    assert _imported(
        "import torch; from quantable.cli.main import main; main(sys.argv[1:])", *words
    )


def test_version(run: Run) -> None:
    result = run("--version")
    assert (result.code, result.out.split()[0]) == (0, "quantable")
