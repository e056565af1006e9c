"""`quantable search`: its result is a recipe, and its errors say what to do."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tests.cli.conftest import DEMO, Run

RECIPE = DEMO / "digits.toml"
DATA = DEMO / "digits_calibration.npz"


@pytest.fixture
def words(build: Path) -> list[object]:
    """Return a command line that lacks its budget and its output."""
    return [
        "search", build / "01-opt.qir", "--target", "onnxruntime-w4a4", "--profile",
        build / "calibration.qprof", "--data", DATA, "--recipe", RECIPE, "--samples", 20,
        "--widths", "4,8", "--quiet",
    ]  # fmt: skip


def test_a_search_writes_a_recipe_that_compile_takes(
    run: Run, words: list[object], tmp_path: Path
) -> None:
    out, kept = tmp_path / "mixed.toml", tmp_path / "steps"
    more = ["--budget", "average-bits=5", "--checkpoint", kept, "--json", "-o", out]
    first = run(*words, *more)
    assert first.code == 0, first.err
    facts = json.loads(first.out)
    recipe = tomllib.loads(out.read_text(encoding="utf-8"))
    assert recipe["assign"] == facts["assignments"]
    assert recipe["scale"] == tomllib.loads(RECIPE.read_text(encoding="utf-8"))["scale"]
    assert max(facts["amounts"][name] for name in ("weight-bits", "activation-bits")) <= 5
    text, files = out.read_bytes(), sorted(kept.iterdir())
    again = run(*words, *more)
    assert (again.out, out.read_bytes(), sorted(kept.iterdir())) == (first.out, text, files)
    done = run(
        "compile", DEMO / "digits.onnx", "--recipe", out, "--calibration", DATA, "--samples", 20,
        "-o", tmp_path / "build", "--quiet",
    )  # fmt: skip
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("options", "code", "words_of_error"),
    [
        (["--budget", "average-bit=5"], 1, "did you mean average-bits"),
        (["--budget", "average-bits"], 1, "expected NAME=NUMBER"),
        (["--budget", "size=nothing"], 1, "expected a number above 0, found 'nothing'"),
        (["--budget", "average-bits=2"], 1, "the least possible is 4"),
        (["--budget", "size=10"], 1, "bytes of weights, the least possible is"),
        (["--budget", "size=1000", "--widths", "four"], 2, "expected numbers such as 4,8,16"),
        (["--budget", "size=1000", "--held-out", "0"], 1, "expected at least 1, found 0"),
        (["--budget", "size=1000", "--samples", "3"], 1, "expected at least 4 samples, found 3"),
    ],
)
def test_errors_say_what_is_possible(
    run: Run, words: list[object], tmp_path: Path, options: list[str], code: int,
    words_of_error: str,
) -> None:  # fmt: skip
    result = run(*words, *options, "-o", tmp_path / "mixed.toml")
    assert result.code == code
    assert words_of_error in result.err
    assert "Traceback" not in result.err
    assert not (tmp_path / "mixed.toml").exists()


def test_only_float_graphs_are_searched(run: Run, words: list[object], build: Path) -> None:
    words[1] = build / "04-opt.qir"
    result = run(*words, "--budget", "size=1000", "-o", build / "no.toml")
    assert result.code == 1
    assert "only a float graph can be searched" in result.err


def test_data_are_needed(run: Run, words: list[object], tmp_path: Path) -> None:
    at = words.index("--data")
    del words[at : at + 2]
    result = run(*words, "--budget", "size=1000", "-o", tmp_path / "mixed.toml")
    assert result.code == 2
    assert "expected --data" in result.err
