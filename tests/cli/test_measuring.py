"""`quantable bench` and `quantable size`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import DEMO, Run


def test_size_shows_every_step(run: Run, build: Path) -> None:
    facts = json.loads(run("size", build, "--json").out)
    manifest = json.loads((build / "manifest.json").read_text("utf-8"))
    assert [row["operation"] for row in facts["steps"]] == [
        layer["name"] for layer in manifest["layers"]
    ]
    shown = run("size", build).out
    assert f"arena      {facts['arena']}" in shown
    assert "int.Conv" in shown


def test_bench_shows_every_step_and_the_peer(run: Run, build: Path) -> None:
    pytest.importorskip("onnxruntime")
    words = ("bench", build, "--seconds", 0.05, "--flags", "-O2", "--quiet")
    result = run(*words, "--against", DEMO / "digits.onnx", "--json")
    facts = json.loads(result.out)
    names = [row["runtime"] for row in facts["latencies"]]
    assert names[0] == "emitted code"
    assert names[1].startswith("ONNX Runtime")
    assert facts["latencies"][0]["ratio"] == 1.0
    assert facts["peak_gops"] is None  # -O2 alone has no vectors
    assert sum(row["share"] for row in facts["layers"]) == pytest.approx(1.0)
    shown = run(*words).out
    assert "emitted code" in shown
    assert "int.Conv" in shown


def test_code_is_timed_and_validated_with_threads(run: Run, build: Path) -> None:
    words = ("--flags", "-O1", "--threads", 2)
    timed = (*words, "--seconds", 0.01, "--no-layers", "--quiet", "--cold")
    facts = json.loads(run("bench", build, *timed, "--json").out)
    assert facts["threads"] == 2
    assert 0 < facts["cold"]["best"] <= facts["cold"]["milliseconds"]
    assert 2**18 < facts["cold"]["resident_bytes"] < 2**25
    data = ("--data", DEMO / "digits_test.npz", "--recipe", DEMO / "digits.toml", "--samples", 5)
    result = run("validate", build, *words, *data, "--json")
    assert result.code == 0
    claims = [row["claim"] for row in json.loads(result.out)]
    assert "integers equal the reference, gcc -O1, 2 threads" in claims


@pytest.mark.parametrize("command", ["bench", "size"])
def test_a_folder_without_code_is_refused(run: Run, tmp_path: Path, command: str) -> None:
    result = run(command, tmp_path)
    assert result.code == 1
    assert "expected a directory of emitted C code, found no manifest.json" in result.err
    assert "Traceback" not in result.err
