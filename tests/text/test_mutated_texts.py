"""Whatever a text is, reading it gives a graph or a FormatError, soon."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from quantable.ir import FormatError
from quantable.text.match import parse_pattern
from quantable.text.parser import parse_graph
from quantable.text.printer import print_graph

FOLDER = Path(__file__).parent / "errors"
SOURCES = [path.read_bytes().decode() for path in sorted(FOLDER.glob("*.qirt"))]
PIECES = [
    '"', "\\", "[", "]", "(", ")", "{", "}", ",", "=", ":", "->", "%x", "@conv", "#conv.in0", "!0",
    "_", "*", "\n", " ", "nan", "inf", "-1", "99999999999999999999", "1e999", "0x1p9999", "f32[",
    "operation", "stage", "dense", "fp32", "\x00", "é", "\u2028", "\ud800", "sha256:", "//", "d",
]  # fmt: skip


def mutated(text: str, source: random.Random) -> str:
    """Return a text with one to four cuts, copies, swaps or insertions."""
    for _ in range(source.randint(1, 4)):
        start, end = sorted(source.randint(0, len(text)) for _ in range(2))
        end = min(end, start + source.choice((1, 2, 8, 64, 4096)))
        match source.randrange(4):
            case 0:
                text = text[:start] + text[end:]
            case 1:
                text = text[:end] + text[start:]
            case 2:
                text = text[:start] + text[start:end][::-1] + text[end:]
            case _:
                text = text[:start] + source.choice(PIECES) + text[start:]
    return text


def pointed(error: FormatError) -> bool:
    """Whether a message shows the place; one that does not is a fault of the parser."""
    return any(set(line.strip()) == {"^"} for line in str(error).splitlines())


def check(count: int, seed: int) -> None:
    source = random.Random(seed)
    for _ in range(count):
        text = mutated(source.choice(SOURCES), source)
        try:
            graph = parse_graph(text, checked=source.random() < 0.5)
        except FormatError as error:
            if not pointed(error):
                raise
            continue
        printed = print_graph(graph, history=True)
        again = parse_graph(printed, store=graph.store, checked=False)
        assert print_graph(again, history=True) == printed


def test_mutated_texts() -> None:
    check(300, seed=1)


@pytest.mark.fuzz
def test_many_mutated_texts() -> None:
    check(6000, seed=2)


def test_mutated_patterns() -> None:
    source = random.Random(3)
    pattern = '%c = Conv|Add(%x, @w, ..., _) [single-use, pads = [1, 2], m = "s"] -> Relu; Mul(%c)'
    for _ in range(500):
        try:
            parsed = parse_pattern(mutated(pattern, source))
        except FormatError as error:
            if not pointed(error):
                raise
        else:
            assert parse_pattern(str(parsed)) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "quantable-text 1\ngraph " + '"' * 100_000,
        "quantable-text 1\n" + "(" * 100_000,
        "quantable-text " + "9" * 100_000,
        'quantable-text 1\ngraph "g" level float opset 1\nrow #a scale [' + "1," * 50_000,
        'quantable-text 1\ngraph "g" level float opset 1\nparameter @a = dense f32['
        + "9," * 50_000 + "9] [1]",
        'quantable-text 1\ngraph "g" level float opset 1\n'
        + "".join(f"output %{'q' * 100}{i}\nrow #{'q' * 100}{i}\n" for i in range(2000)),
    ],
)  # fmt: skip
def test_long_nonsense_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        parse_graph(text)
