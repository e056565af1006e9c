"""Mutated texts of a whole compilation: refused with their place, or a graph that can be run."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantable.cli.main import main
from quantable.schema import load
from quantable.text.printer import print_graph
from tests.cli.conftest import DEMO
from tests.text.fuzz_texts import fuzz


@pytest.mark.fuzz
def test_what_is_accepted_can_be_run_or_is_refused_by_the_runtime(tmp_path: Path) -> None:
    words = [
        "compile", DEMO / "digits.onnx", "--target", "x86-vnni", "--samples", 20, "--calibration",
        DEMO / "digits_calibration.npz", "--recipe", DEMO / "digits.toml", "-o", tmp_path / "out",
        "--quiet",
    ]  # fmt: skip
    assert main([str(word) for word in words]) == 0
    paths = sorted((tmp_path / "out").glob("*.qir"))
    tally = fuzz([print_graph(load(p), history=True, elide=1 << 12) for p in paths], 1000, 5)
    assert tally.failures == []
    assert tally.outcomes["refused"] > 600
    assert tally.outcomes["ran"] > 25
