"""`pack`, `unpack` and `upgrade` change the file and never the graph."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quantable.ir import graph_digest
from quantable.schema import load
from tests.cli.conftest import Run

STAGES = ("00-import.qir", "04-opt.qir", "06-plan.qir")


@pytest.mark.parametrize("stage", STAGES)
def test_pack_and_unpack_give_the_same_bytes(
    run: Run, build: Path, tmp_path: Path, stage: str
) -> None:
    (tmp_path / "packed").mkdir()
    packed, unpacked = tmp_path / "packed" / "one.qir", tmp_path / "again.qir"
    result = run("pack", build / stage, "-o", packed, "--json")
    assert result.code == 0
    digest = graph_digest(load(build / stage))
    assert json.loads(result.out)["digest"] == digest
    assert [path.name for path in packed.parent.iterdir()] == ["one.qir"]
    again = json.loads(run("unpack", packed, "-o", unpacked, "--json").out)
    assert again["digest"] == digest
    assert unpacked.read_bytes() == (build / stage).read_bytes()
    large = [p.name for p in (tmp_path / "segments").glob("*")]
    for name in large:
        assert (tmp_path / "segments" / name).read_bytes() == (
            build / "segments" / name
        ).read_bytes()
    assert bool(large) == (stage != "06-plan.qir")  # whose integers are few bytes


@pytest.mark.parametrize("name", ["04-opt.qir", "calibration.qprof"])
def test_upgrade_of_a_file_of_this_version_changes_nothing(
    run: Run, build: Path, tmp_path: Path, name: str
) -> None:
    words = ("upgrade", build / name, "-o", tmp_path / name, "--format-version", "1.4", "--json")
    result = run(*words)
    assert json.loads(result.out) == {"read": "1.4", "written": "1.4"}
    assert (tmp_path / name).read_bytes() == (build / name).read_bytes()


def test_a_graph_goes_to_an_older_version_and_back(run: Run, build: Path, tmp_path: Path) -> None:
    old, again = tmp_path / "old.qir", tmp_path / "again.qir"
    assert run("upgrade", build / "04-opt.qir", "-o", old, "--format-version", "1.0").code == 0
    assert run("diff", build / "04-opt.qir", old).code == 0
    assert json.loads(run("upgrade", old, "-o", again, "--json").out)["read"] == "1.0"
    assert again.read_bytes() == (build / "04-opt.qir").read_bytes()


def test_means_of_channels_keep_a_profile_from_an_older_version(
    run: Run, build: Path, tmp_path: Path
) -> None:
    words = ("-o", tmp_path / "a.qprof", "--format-version", "1.0")
    result = run("upgrade", build / "calibration.qprof", *words)
    assert result.code == 1
    assert "version 1.0 cannot express Profile.channel_means (1 times; since 1.1)" in result.err


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("0.9", "cannot write version 0.9: expected one of 1.0, 1.1, 1.2, 1.3, 1.4"),
        ("one", "expected a version such as 1.4, found 'one'"),
    ],
)
def test_versions_that_cannot_be_written(
    run: Run, build: Path, tmp_path: Path, version: str, message: str
) -> None:
    words = ("upgrade", build / STAGES[0], "-o", tmp_path / "a.qir", "--format-version", version)
    result = run(*words)
    assert result.code == 1
    assert message in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_profile_cannot_be_packed_and_the_message_says_why(
    run: Run, build: Path, tmp_path: Path
) -> None:
    result = run("pack", build / "calibration.qprof", "-o", tmp_path / "a.qir")
    assert result.code == 1
    assert "found a .qprof file" in result.err
