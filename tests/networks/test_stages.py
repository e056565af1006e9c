"""Stage by stage equals one shot, and nothing but the inputs decides a byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from quantable.cli.main import main
from quantable.driver import api
from quantable.driver.stages import stages_for
from quantable.targets.description import load_target
from tests.networks.conftest import TARGETS, Case

pytestmark = pytest.mark.slow
Compiled = Callable[[Case, str], Path]


def _command(*words: str | Path) -> None:
    assert main([str(word) for word in words]) == 0


def _bytes(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _calibration_file(case: Case, folder: Path) -> Path:
    samples = case.calibration()
    name = next(iter(samples[0]))
    np.savez(folder / "data.npz", **{name: np.concatenate([s[name] for s in samples])})
    return folder / "data.npz"


@pytest.mark.parametrize("target", TARGETS)
def test_stage_by_stage_equals_one_shot(
    case: Case, target: str, compiled: Compiled, tmp_path: Path
) -> None:
    data = _calibration_file(case, tmp_path)
    out = tmp_path / "build"
    out.mkdir()
    _command("import", case.model, "-o", out / "00-import.qir")
    _command("opt", out / "00-import.qir", "--passes", "canonicalize", "-o", out / "01-opt.qir")
    _command("observe", out / "01-opt.qir", "--data", data, "-o", out / "calibration.qprof")
    _command("quantize", out / "01-opt.qir", "--target", target, "-o", out / "02-quantize.qir")
    _command(
        "calibrate", out / "02-quantize.qir", "--profile", out / "calibration.qprof",
        "-o", out / "03-calibrate.qir",
    )  # fmt: skip
    _command("opt", out / "03-calibrate.qir", "--passes", "refine", "-o", out / "04-opt.qir")
    last = out / "04-opt.qir"
    if load_target(target).backend == "c":
        _command("lower", out / "04-opt.qir", "-o", out / "05-lower.qir")
        last = out / "06-plan.qir"
        _command("opt", out / "05-lower.qir", "--passes", "plan", "-o", last)
    _command("emit", last, "-o", out)
    one_shot, by_stage = _bytes(compiled(case, target)), _bytes(out)
    stages = [stage.file for stage in stages_for(load_target(target).backend) if stage.file]
    assert set(stages) <= set(by_stage)
    reports = {"report.md", "report.json"}
    assert set(one_shot) - reports == set(by_stage)
    assert [name for name in by_stage if by_stage[name] != one_shot[name]] == []


def test_shards_merge_to_the_same_profile_in_any_order(case: Case, tmp_path: Path) -> None:
    graph = api.canonicalize(api.import_model(case.model))
    samples = case.inputs("calibration", 14)
    whole = api.observe(graph, samples, threads=2)
    api.save_profile(whole, tmp_path / "whole.qprof")
    for shards in (1, 3, 7):
        parts = [
            api.observe(graph, samples, threads=1, shard=f"{index}/{shards}")
            for index in range(1, shards + 1)
        ]
        for order in (parts, parts[::-1], parts[1::2] + parts[0::2]):
            api.save_profile(api.merge_profiles(order), tmp_path / "merged.qprof")
            merged = (tmp_path / "merged.qprof").read_bytes()
            assert merged == (tmp_path / "whole.qprof").read_bytes()


_COMPILE = """
import json, sys
from quantable.cli.main import main
for words in json.loads(sys.argv[1]):
    assert main(words) == 0
"""


@pytest.mark.parametrize("case", ["resnet8", "dscnn_kws", "cct_cifar"], indirect=True)
def test_hash_seed_threads_and_folder_do_not_matter(case: Case, tmp_path: Path) -> None:
    data = _calibration_file(case, tmp_path)
    found: list[dict[str, bytes]] = []
    for seed, threads in (("0", 1), ("1", 2), ("4711", 2)):
        folder = tmp_path / f"work-{seed}"
        folder.mkdir()
        words = [
            ["compile", str(case.model), "--target", target, "--calibration", str(data),
             "--samples", "16", "--threads", str(threads), "-o", target]
            for target in TARGETS
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": str(threads)}
        subprocess.run(
            [sys.executable, "-c", _COMPILE, json.dumps(words)],
            cwd=folder, env=environment, check=True, capture_output=True,
        )  # fmt: skip
        found.append(_bytes(folder))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) > 20
