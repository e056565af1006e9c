"""The text of every stage of every network gives back the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from quantable.schema import load, save
from quantable.text.files import read_text, write_text
from quantable.text.printer import print_graph
from tests.networks.conftest import Case


@pytest.mark.slow
@pytest.mark.parametrize("target", ["onnxruntime", "x86-vnni"])
def test_text_and_file_give_back_each_other(
    case: Case, compiled: Callable[[Case, str], Path], target: str, tmp_path: Path
) -> None:
    files = sorted(compiled(case, target).glob("*.qir"))
    assert len(files) >= 5
    for path in files:
        graph = load(path)
        first, text, second = (tmp_path / f"{path.stem}.{s}" for s in ("a", "qirt", "b"))
        save(graph, first)
        write_text(graph, text)
        read = read_text(text)
        assert print_graph(read, history=True) == text.read_text(encoding="utf-8")
        save(read, second)
        assert second.read_bytes() == first.read_bytes()
