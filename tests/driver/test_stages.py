"""Stage by stage equals one shot; nothing but the inputs decides a byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from quantable.cli.main import main
from quantable.demo.__main__ import stage_commands
from quantable.driver import api
from quantable.driver.compile import Compilation
from quantable.driver.stages import STAGES, stages_for
from quantable.driver.validate import validate
from quantable.ir import Graph, Profile
from quantable.targets.description import load_target
from tests.driver.conftest import Digits

TARGETS = ("x86-vnni", "onnxruntime")
Compiled = Callable[[str], tuple[Path, Compilation]]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("target", TARGETS)
def test_stage_by_stage_equals_one_shot(
    digits: Digits, target: str, compiled: Compiled, tmp_path: Path
) -> None:
    for words in stage_commands(target, tmp_path):
        extra = ["--samples", str(digits.samples)] if words[0] == "observe" else []
        assert main([*map(str, words), *extra]) == 0
    one_shot = contents(compiled(target)[0])
    by_stage = contents(tmp_path)
    assert set(one_shot) - set(by_stage) == {"report.md", "report.json"}
    assert [name for name in by_stage if by_stage[name] != one_shot[name]] == []
    stages = stages_for(load_target(target).backend)
    assert {stage.file for stage in stages if stage.file} <= set(by_stage)


@pytest.mark.parametrize("target", TARGETS)
def test_each_stage_leaves_the_level_that_its_row_names(compiled: Compiled, target: str) -> None:
    folder, _ = compiled(target)
    for stage in STAGES:
        if stage.level is not None and (folder / stage.file).is_file():
            assert api.load(folder / stage.file).level is stage.level


@pytest.mark.parametrize("target", TARGETS)
def test_every_claim_holds(digits: Digits, compiled: Compiled, target: str) -> None:
    claims = validate(compiled(target)[0], digits.test, digits.how, samples=64)
    assert [claim for claim in claims if not claim.held] == []
    assert any("0 of 640 elements differ" in claim.found for claim in claims) == (
        target == "x86-vnni"
    )


@pytest.mark.parametrize("target", TARGETS)
def test_the_quantized_network_still_reads_digits(
    digits: Digits, compiled: Compiled, target: str
) -> None:
    _, made = compiled(target)
    samples = api.open_samples(digits.test, made.graphs[-1][1], digits.how, samples=200)
    (scores,) = api.run(made.graphs[-1][1], samples).values()
    assert api.top_1(scores, samples.label("label")) >= 0.97


def test_an_integer_graph_is_planned_by_emit(compiled: Compiled, tmp_path: Path) -> None:
    folder, made = compiled("x86-vnni")
    api.emit(api.load(folder / "05-lower.qir"), tmp_path)
    emitted = contents(tmp_path)
    assert emitted == {name: contents(folder)[name] for name in emitted}
    assert set(made.manifest["files"]) < set(emitted)


def test_a_profile_serves_several_targets(
    canonical_graph: Graph, profile: Profile, compiled: Compiled
) -> None:
    for target in TARGETS:
        _, made = compiled(target)
        assert made.profile == profile
        again = api.calibrate(api.quantize(canonical_graph, target), profile)
        assert again == dict(made.graphs)["03-calibrate.qir"]


@pytest.mark.parametrize("shards", [1, 3, 7])
def test_shards_add_up_to_the_same_bytes(
    digits: Digits, canonical_graph: Graph, profile: Profile, tmp_path: Path, shards: int
) -> None:
    parts = [
        api.observe(
            canonical_graph, digits.calibration, digits.how, samples=digits.samples,
            shard=f"{index}/{shards}", threads=1 + index % 2,
        )
        for index in range(1, shards + 1)
    ]  # fmt: skip
    api.save_profile(profile, tmp_path / "whole.qprof")
    for order in (parts, parts[::-1], parts[1::2] + parts[::2]):
        api.save_profile(api.merge_profiles(order), tmp_path / "merged.qprof")
        merged = (tmp_path / "merged.qprof").read_bytes()
        assert merged == (tmp_path / "whole.qprof").read_bytes()


_SCRIPT = "import json, sys; from quantable.cli.main import main; main(json.loads(sys.argv[1]))"


def test_hash_seed_threads_and_folder_do_not_matter(
    digits: Digits, compiled: Compiled, tmp_path: Path
) -> None:
    expected = contents(compiled("x86-vnni")[0])
    for seed, threads in (("0", "1"), ("1", "2"), ("4711", "2")):
        folder = tmp_path / f"elsewhere-{seed}"
        folder.mkdir()
        words = [
            "compile", str(digits.model), "--target", "x86-vnni", "--samples", str(digits.samples),
            "--calibration", str(digits.calibration), "--recipe", str(digits.recipe),
            "--threads", threads, "-o", "build",
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads}
        subprocess.run(
            [sys.executable, "-c", _SCRIPT, json.dumps(words)],
            cwd=folder, env=environment, check=True, capture_output=True,
        )  # fmt: skip
        assert contents(folder / "build") == expected
