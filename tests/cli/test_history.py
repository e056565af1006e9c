"""`replay`, `why`, `cache`, and the options that watch passes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from quantable.driver import api
from quantable.ir import Decision
from quantable.ir.hashing import with_history
from tests.cli.conftest import DEMO, Result, Run

CONV = "/stem/stem.0/Conv"


def test_replay_of_a_good_file(run: Run, build: Path) -> None:
    profile = build / "calibration.qprof"
    result = run(
        "replay", build / "06-plan.qir", "--model", DEMO / "digits.onnx", "--profile", profile,
        "--json",
    )  # fmt: skip
    rows = json.loads(result.out)
    assert result.code == 0
    assert {row["verdict"] for row in rows} == {"equal"}
    assert rows[-1]["stage"] == "this file"
    assert run("replay", build / "04-opt.qir", "--from", build / "03-calibrate.qir").code == 0


def test_replay_of_another_model_names_the_stage(run: Run, build: Path, tmp_path: Path) -> None:
    other = tmp_path / "net.onnx"
    other.write_bytes((DEMO / "digits.onnx").read_bytes() + bytes([0x78, 0x01]))
    result = run("replay", build / "01-opt.qir", "--model", other)
    assert result.code == 1
    assert "the first stage that differs: import" in result.err


def test_why(run: Run, build: Path) -> None:
    result = run("why", build / "06-plan.qir", "--operation", CONV)
    assert result.code == 0
    for text in ("from the ONNX nodes: ", "fold-batchnorm", "calibrate: mse [", "product of row"):
        assert text in result.out
    asked = run("why", build / "04-opt.qir", "--operation", CONV, "--slot", "in1", "--json")
    assert [one["slot"] for one in json.loads(asked.out)["origins"]] == ["in1"]
    assert run("why", build / "04-opt.qir", "--operation", "/stem/Cov").code == 1


def test_why_and_print_tell_decisions(run: Run, build: Path, tmp_path: Path) -> None:
    graph = api.load(build / "04-opt.qir")
    decision = Decision((CONV, "b"), "rounding", "noise", float("nan"), 0.5, False, "not better")
    last = replace(graph.history[-1], decisions=(decision,))
    path = tmp_path / "04-opt.qir"
    api.save(with_history(graph, (*graph.history[:-1], last)), path)
    shown = run("why", path, "--operation", CONV).out
    assert f"  {last.name}: rounding (of {CONV}, b)\n" in shown
    assert "    noise: nan -> 0.5, refused: not better\n" in shown
    facts = {
        "subject": [CONV, "b"], "tried": "rounding", "measure": "noise", "before": "nan",
        "after": 0.5, "accepted": False, "reason": "not better",
    }  # fmt: skip
    told = json.loads(run("why", path, "--operation", CONV, "--json").out)
    assert told["decided"] == [{"stage": last.name, **facts}]
    printed = json.loads(run("print", path, "--json").out)
    assert printed["history"][-1]["decisions"] == [facts]
    assert printed["history"][0]["decisions"] == []


def _compile(run: Run, build: Path, output: Path, *extra: object) -> Result:
    return run(
        "compile", DEMO / "digits.onnx", "--target", "x86-vnni", "--profile",
        build / "calibration.qprof", "-o", output, *extra,
    )  # fmt: skip


def test_the_cache_is_filled_shown_explained_and_emptied(
    run: Run, build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTABLE_CACHE", str(tmp_path / "cache"))
    assert "import: not cached" in _compile(run, build, tmp_path / "a").err
    assert "emit: cached" in _compile(run, build, tmp_path / "b").err
    other = _compile(
        run, build, tmp_path / "c", "--pipeline", 'calibrate=calibrate{method="kl"},correct-bias'
    )
    assert "calibrate: not cached (changed: pipeline)" in other.err
    info = json.loads(run("cache", "info", "--json").out)
    rows = json.loads(run("cache", "list", "--json").out)
    assert (info["entries"], info["bytes"] > 0) == (len(rows), True)
    keys = [row["key"] for row in rows if row["stage"] == "calibrate"]
    assert len(keys) == 2
    for words in ([keys[0]], keys):
        explained = json.loads(run("cache", "explain", *words, "--json").out)
        changed = [row["component"] for row in explained if row["verdict"] == "changed"]
        assert changed == ["pipeline"]
    assert run("cache", "explain", "zz").code == 1
    pruned = json.loads(run("cache", "prune", "--cache-limit", "0", "--json").out)
    assert pruned["removed_entries"] == len(rows)
    assert json.loads(run("cache", "clear", "--json").out)["freed_bytes"] == 0


def test_the_cache_has_to_be_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUANTABLE_CACHE", raising=False)
    assert run("cache", "info").code == 2
    assert run("cache", "info", "key").code == 2


@pytest.mark.parametrize("command", ["opt", "quantize"])
def test_instruments_speak_on_stderr_only(
    run: Run, build: Path, tmp_path: Path, command: str
) -> None:
    base = [command, build / "01-opt.qir", "--target", "onnxruntime", "-o", tmp_path / "q.qir"]
    if command == "opt":
        base += ["--passes", "quantize"]
    plain = run(*base)
    assert "remarks of the passes; show them with --remarks" in plain.err or not plain.err
    before = (tmp_path / "q.qir").read_bytes()
    dump = ["--dump", tmp_path / "dump", "--dump-filter", "fuse"]
    watched = run(*base, "--timing", "--statistics", "--remarks", *dump)
    assert watched.out == plain.out
    assert (tmp_path / "q.qir").read_bytes() == before
    for text in ("timing: ", "  serialisation", "statistics: assign-configs"):
        assert text in watched.err
    assert {path.name.split(".")[0] for path in (tmp_path / "dump").glob("*.qir")} == {
        "003-fuse-overlaps"
    }


def test_a_dump_filter_needs_a_dump(run: Run, build: Path, tmp_path: Path) -> None:
    words = ["quantize", build / "01-opt.qir", "--target", "x86-vnni", "-o", tmp_path / "q.qir"]
    assert "--dump-filter goes with --dump" in run(*words, "--dump-filter", "x").err
