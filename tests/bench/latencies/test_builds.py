"""A network's folder is built once, and measured with what is there."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from quantable.bench.latencies import __main__ as command
from quantable.bench.latencies.builds import CODE, FILES, QUANTIZED, build

MODEL = Path(__file__).resolve().parents[3] / "tools/quantable/demo/digits.onnx"


@pytest.mark.slow
def test_what_was_built_is_measured(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    pytest.importorskip("onnxruntime")
    monkeypatch.setitem(sys.modules, "nncf", None)  # as if it were not installed
    folder = tmp_path / "resnet8_ic"
    lines = list(build(MODEL, folder, (1,)))
    assert lines[:3] == [f"resnet8_ic: {made}" for made in (QUANTIZED, CODE, FILES["QDQ"])]
    assert lines[3].startswith(f"resnet8_ic: {FILES['NNCF']} left out: ")
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*.so")}
    words = ["measure", str(tmp_path), "--networks", "resnet8_ic", "--threads", "1",
             "--seconds", "0.1", "--output", str(tmp_path / "page.md")]  # fmt: skip
    command.main(words)
    taken = capsys.readouterr()
    rows = json.loads(taken.out)["rows"]
    assert [row["runtime"] for row in rows][:2] == ["quantable", "ONNX Runtime, QDQ"]
    assert "left out, NNCF: there is no quantized.xml" in taken.err
    assert (tmp_path / "page.md").is_file()
    assert before == {p: p.stat().st_mtime_ns for p in before}, "compiled once"
    (folder / CODE / "model.c").write_text("")
    assert next(build(MODEL, folder, (), again=True)) == f"resnet8_ic: {CODE}"
    assert (folder / CODE / "model.c").stat().st_size > 0
