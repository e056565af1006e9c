"""What the parser says of broken texts: `errors/NAME.qirt` gives exactly `errors/NAME.expected`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from quantable.ir import FormatError
from quantable.text.faults import MAX_FAULTS
from quantable.text.parser import parse_graph
from quantable.text.records import graph_parser

FOLDER = Path(__file__).parent / "errors"
BROKEN = sorted(FOLDER.glob("*.qirt"))


def message(path: Path) -> str:
    with pytest.raises(FormatError) as caught:
        parse_graph(path.read_bytes().decode(), source=path.name)
    return f"{caught.value}\n"


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_the_message_is_the_expected_one(path: Path) -> None:
    assert message(path) == path.with_suffix(".expected").read_text(encoding="utf-8")


def test_there_are_enough_broken_files_and_every_expectation_is_used() -> None:
    assert len(BROKEN) >= 40
    assert {path.stem for path in BROKEN} == {path.stem for path in FOLDER.glob("*.expected")}
    assert {path.suffix for path in FOLDER.iterdir()} == {".qirt", ".expected"}


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_no_message_names_a_terminal_and_each_points_into_its_line(path: Path) -> None:
    said = message(path)
    terminals = {item.name for item in graph_parser().terminals}
    assert not terminals & set(re.findall(r"_*\b[A-Z][A-Z_0-9]{2,}\b", said))
    lines = said.splitlines()
    carets = [number for number, line in enumerate(lines) if re.fullmatch(r" +\^+", line)]
    assert 1 <= len(carets) <= MAX_FAULTS
    text = path.read_bytes().decode().splitlines()
    for number in carets:
        place = re.match(rf"{re.escape(path.name)}:(\d+):(\d+): ", lines[number - 2])
        assert place is not None
        line, column = int(place[1]), int(place[2])
        shown = lines[number - 1][lines[number].index("^") :]
        whole = text[line - 1] if line <= len(text) else ""
        assert whole[column - 1 :].rstrip().startswith(shown.rstrip("…")[:20].rstrip())
