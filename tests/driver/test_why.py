"""What touched an operation, and where its scales come from."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from quantable.driver import api
from quantable.driver.compile import Compilation
from quantable.driver.why import explain
from quantable.ir import Decision, UnknownNameError
from quantable.ir.hashing import with_history

Compiled = Callable[[str], tuple[Path, Compilation]]
CONV = "/stem/stem.0/Conv"


@pytest.fixture(scope="module")
def folder(compiled: Compiled) -> Path:
    return compiled("x86-vnni")[0]


def test_every_pass_that_touched_it_is_told(folder: Path) -> None:
    found = explain(folder / "06-plan.qir", CONV)
    assert found.sources == (CONV, "/stem/stem.1/BatchNormalization", "/stem/stem.2/Clip")
    assert [touch.stage for touch in found.touched] == [
        "import", "fold-batchnorm", "dispatch", "assign-configs", "fuse-overlaps", "calibrate",
        "correct-bias", "passive-parameters", "bake", "lower-to-integer", "assign-layout",
        "make-padding-explicit", "plan-memory",
    ]  # fmt: skip
    said = {touch.stage: "\n".join(touch.what) for touch in found.touched}
    assert "removed '/stem/stem.1/BatchNormalization'" in said["fold-batchnorm"]
    assert "in1: stored as i8" in said["bake"]
    assert "placed at byte" in said["plan-memory"]
    assert found.is_complete


def test_the_origin_of_each_scale_is_told(folder: Path, compiled: Compiled) -> None:
    found = explain(folder / "06-plan.qir", CONV)
    assert found.scales_of == "04-opt.qir"
    origins = {(one.operation, one.slot): one for one in found.origins}
    weight, bias, out = (origins[CONV, slot] for slot in ("in1", "in2", "out0"))
    rows = dict(compiled("x86-vnni")[1].graphs)["04-opt.qir"].rows
    assert weight.reason == rows[f"{CONV}.in1"].provenance
    assert weight.reason.startswith("calibrate: grid [")
    assert [part.split(":")[0] for part in bias.derived_from] == [f"'{CONV}.in0'", f"'{CONV}.in1'"]
    assert (out.row, "/stem/stem.2/Clip.out0" in out.shared_with) == (
        "/stem/stem.2/Clip.out0",
        True,
    )


def test_one_slot_can_be_asked_for(folder: Path) -> None:
    found = explain(folder / "04-opt.qir", CONV, slot="in1")
    assert [(one.operation, one.slot) for one in found.origins] == [(CONV, "in1")]
    assert found.scales_of == ""
    with pytest.raises(UnknownNameError, match="unknown slot 'in7'"):
        explain(folder / "04-opt.qir", CONV, slot="in7")


def test_decisions_are_told_under_every_name_of_the_operation(folder: Path, tmp_path: Path) -> None:
    build = tmp_path / "build"
    shutil.copytree(folder, build)
    clip = "/stem/stem.2/Clip"
    decisions = (
        Decision((CONV,), "rounding", "noise", 0.5, 0.25, True),
        Decision(("other",), "rounding", "noise", 0.5, 0.25, True),
        Decision(("other", clip), "channels", "noise", float("nan"), 0.5, False, "not better"),
    )
    graph = api.load(build / "06-plan.qir")
    last = replace(graph.history[-1], decisions=decisions)
    api.save(with_history(graph, (*graph.history[:-1], last)), build / "06-plan.qir")
    found = explain(build / "06-plan.qir", CONV)
    assert [one.decision for one in found.decided] == [decisions[0], decisions[2]]
    assert {one.stage for one in found.decided} == {"plan-memory"}
    assert explain(folder / "06-plan.qir", CONV).decided == ()


@pytest.mark.parametrize("name", ["/stem/stem.1/BatchNormalization", "/stem/stem.2/Clip"])
def test_a_node_that_was_merged_away_is_found(folder: Path, name: str) -> None:
    assert explain(folder / "06-plan.qir", name).operation == CONV


def test_an_unknown_name_is_refused_with_the_nearest(folder: Path) -> None:
    with pytest.raises(UnknownNameError) as caught:
        explain(folder / "04-opt.qir", "/stem/stem.0/Cov")
    assert CONV in caught.value.help


def test_a_file_alone_still_tells_its_scales(folder: Path, tmp_path: Path) -> None:
    api.save(api.load(folder / "04-opt.qir"), tmp_path / "alone.qir")
    found = explain(tmp_path / "alone.qir", CONV, slot="in0")
    assert (found.touched, found.is_complete) == ((), False)
    assert found.origins[0].reason.startswith("calibrate: mse [")


def test_without_the_profile_a_stage_is_told_as_a_whole(folder: Path, tmp_path: Path) -> None:
    build = tmp_path / "build"
    shutil.copytree(folder, build)
    (build / "calibration.qprof").unlink()
    (build / "01-opt.qir").write_bytes(b"damaged")
    stages = [touch.stage for touch in explain(build / "04-opt.qir", CONV).touched]
    assert stages[0] == "import"
    assert "calibrate,correct-bias" in stages
    assert {"fold-batchnorm", "dispatch", "bake"} <= set(stages)


def test_files_of_another_compilation_are_not_used(
    folder: Path, compiled: Compiled, tmp_path: Path
) -> None:
    build = tmp_path / "build"
    shutil.copytree(folder, build)
    shutil.copy(compiled("onnxruntime")[0] / "03-calibrate.qir", build / "03-calibrate.qir")
    expected = [touch.stage for touch in explain(folder / "04-opt.qir", CONV).touched]
    assert [touch.stage for touch in explain(build / "04-opt.qir", CONV).touched] == expected
