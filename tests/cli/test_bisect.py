"""`quantable bisect` and `quantable reduce`, with commands as oracles."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from quantable.schema import load
from tests.cli.conftest import Run

_HOLDS = """import sys
from quantable.schema import load
holds = any(op.kind == sys.argv[1] for op in load(sys.argv[2]).operations)
sys.exit(holds == (sys.argv[3] == "bad"))
"""


def _oracle(folder: Path, kind: str, when: str) -> str:
    script = folder / "holds.py"
    script.write_text(_HOLDS)
    return f"{sys.executable} {script} {kind} {{}} {when}"


def test_bisect_names_pass_and_rewrite_and_leaves_the_stages(
    run: Run, build: Path, tmp_path: Path
) -> None:
    result = run(
        "bisect", build / "00-import.qir", "--passes", "canonicalize", "--oracle",
        _oracle(tmp_path, "quantable.Linear", "bad"), "-o", tmp_path, "--json",
    )  # fmt: skip
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert (found["pass"], found["rewrite"], found["of"]) == ("merge-linear", 1, 1)
    assert found["operations"] == ["/classify/Gemm"]
    good, bad = (load(tmp_path / found[role]) for role in ("good", "bad"))
    assert {"Gemm"} == {op.kind for op in good.operations} - {op.kind for op in bad.operations}
    assert run("opt", tmp_path / found["reproducer"], "--replay").code == 0


def test_a_result_that_is_good_is_the_users_fault(run: Run, build: Path, tmp_path: Path) -> None:
    words = ("bisect", build / "00-import.qir", "--passes", "canonicalize", "-o", tmp_path)
    result = run(*words, "--oracle", f"{sys.executable} -c pass")
    assert result.code == 1
    assert "expected the result of the whole pipeline to be bad, found good" in result.err


def test_reduce_leaves_one_operation(run: Run, build: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.qir"
    result = run(
        "reduce", build / "01-opt.qir", "--oracle", _oracle(tmp_path, "Add", "good"), "-o", small,
        "--json",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert [op.kind for op in load(small).operations] == ["Add"]
    assert json.loads(result.out)["after"]["operations"] == 1
