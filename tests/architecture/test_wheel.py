"""A wheel holds everything that the source tree needs at run time."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TREES = ("ir_schema", "compiler", "runtime", "tools")
SUFFIXES = (
    ".py", ".lark", ".toml", ".json", ".h", ".c", ".ld", ".fbs", ".onnx", ".npz", ".txt",
)  # fmt: skip


def test_a_wheel_holds_every_file_of_the_four_trees(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling builds the wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as held:
        names = set(held.namelist())
    expected = {
        path.relative_to(ROOT / tree).as_posix()
        for tree in TREES
        for path in (ROOT / tree / "quantable").rglob("*")
        if path.suffix in SUFFIXES
    }
    assert {Path(name).suffix for name in expected} == set(SUFFIXES)
    assert expected - names == set()
    assert any(name.endswith("entry_points.txt") for name in names)
    assert any("LICENSE" in name for name in names)
