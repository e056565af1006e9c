"""Text files with their contents beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quantable.cli.main import main
from quantable.ir import FormatError, Graph, Value
from quantable.schema import load, save
from quantable.text.files import read_text, write_text


@pytest.fixture
def graph() -> Graph:
    graph = Graph("g")
    refs = {
        "small": graph.store.put(np.asarray([1.5, 2.5], np.float32)),
        "large": graph.store.put(np.arange(3000, dtype=np.int16)),
    }
    values = {name: Value(name, ref.dtype, ref.shape) for name, ref in refs.items()}
    return replace(graph, values=values, parameters=refs)


def test_what_is_written_is_read_back(graph: Graph, tmp_path: Path) -> None:
    write_text(graph, tmp_path / "g.qirt")
    assert [path.name for path in (tmp_path / "segments").iterdir()] == [
        graph.parameters["large"].digest
    ]
    read = read_text(tmp_path / "g.qirt")
    assert read == graph
    assert read.array("large").tolist() == graph.array("large").tolist()


def test_missing_and_foreign_contents_are_refused(graph: Graph, tmp_path: Path) -> None:
    write_text(graph, tmp_path / "g.qirt")
    segment = tmp_path / "segments" / graph.parameters["large"].digest
    segment.write_bytes(bytes(6000))
    with pytest.raises(FormatError, match="corrupt segment"):
        read_text(tmp_path / "g.qirt").array("large")
    segment.unlink()
    with pytest.raises(FormatError, match="contents are missing: expected 6000 bytes"):
        read_text(tmp_path / "g.qirt")


def test_a_binary_file_is_no_text(graph: Graph, tmp_path: Path) -> None:
    save(graph, tmp_path / "g.qir")
    with pytest.raises(FormatError):
        read_text(tmp_path / "g.qir")
    (tmp_path / "latin").write_bytes(b"quantable-text 1 \xe9")
    with pytest.raises(FormatError, match="expected UTF-8, found another byte at offset 17"):
        read_text(tmp_path / "latin")


def test_the_commands_give_back_the_same_bytes(graph: Graph, tmp_path: Path) -> None:
    first, text, second = tmp_path / "a.qir", tmp_path / "a.qirt", tmp_path / "b.qir"
    save(graph, first)
    assert main(["print", str(first), "--complete", "-o", str(text)]) == 0
    assert main(["parse", str(text), "-o", str(second)]) == 0
    assert second.read_bytes() == first.read_bytes()
    assert load(second) == graph


def test_options_that_do_not_go_together_are_refused(graph: Graph, tmp_path: Path) -> None:
    save(graph, tmp_path / "a.qir")
    for words in (["-o", "x"], ["--match", "Conv", "--complete"], ["--match", "Conv", "--json"]):
        assert main(["print", str(tmp_path / "a.qir"), *words]) == 2


def test_only_matching_operations_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        'quantable-text 1\ngraph "g" level float opset 21\ninput %x: f32[2]\noutput %z\n'
        "operation @r Relu(%x) -> (%y: f32[2])\noperation @n Neg(%y) -> (%z: f32[2])\n"
    )
    (tmp_path / "g.qirt").write_text(text)
    assert main(["parse", str(tmp_path / "g.qirt"), "-o", str(tmp_path / "g.qir")]) == 0
    capsys.readouterr()
    assert main(["print", str(tmp_path / "g.qir"), "--match", "Neg"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "operation @n Neg(%y) -> (%z: f32[2])\n"
    assert shown.err == "1 matches, 1 operations\n"
