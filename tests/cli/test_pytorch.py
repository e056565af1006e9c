"""PyTorch networks on the command line; what needs no export."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["missing.py:net"], 1, "missing.py: no such file"),
        (["net.py:nothing"], 1, "expected an attribute 'nothing', found net, torch"),
        (["net.py:net"], 1, "give --input-shape NAME=1x3x224x224 for each, or --example"),
        (
            ["net.py:net", "--input-shape", "x=1xx2"],
            1,
            "expected numbers and symbols, found '1xx2'",
        ),
        (["net.py:net", "--input-shape", "z=1x2"], 1, "expected inputs input, found z in place 0"),
        (["net.onnx", "--input-shape", "x=1x2"], 2, "--input-shape goes with a PyTorch module"),
        (["net"], 1, "net.py:NAME for a PyTorch module"),
    ],
)
def test_mistakes_are_explained_without_a_traceback(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int,
    message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text("import torch\nnet = torch.nn.Linear(2, 3)\n")
    result = run("import", *words, "-o", "out")
    assert (result.code, "Traceback" in result.err) == (code, False)
    assert message in result.err
    assert not Path("out").exists()


def test_compile_takes_a_module_and_refuses_what_import_refuses(run: Run, tmp_path: Path) -> None:
    reference = f"{tmp_path / 'missing.py'}:net"
    result = run(
        "compile", reference, "--target", "c-portable", "--calibration", "d.npz", "-o", "b"
    )
    assert (result.code, "Traceback" in result.err) == (1, False)
    assert "missing.py: no such file" in result.err
