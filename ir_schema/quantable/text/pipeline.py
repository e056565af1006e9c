"""The pipeline language: names of passes with options, as text.

fold-batchnorm,dispatch{mode="all-in"},calibrate{observer="kl" bins=2048}
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from quantable.ir.errors import OptionError

Scalar = bool | int | float | str
OptionValue = Scalar | tuple["OptionValue", ...]

_SPELLING = {
    "COMMA": "','", "LBRACE": "'{'", "RBRACE": "'}'", "LSQB": "'['", "RSQB": "']'",
    "EQUAL": "'='", "NAME": "a name", "INT": "an integer", "FLOAT": "a number",
    "STRING": 'a string in ""', "TRUE": "true", "FALSE": "false", "$END": "the end",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PipelineOption:
    """One option: name as written, value, and the column (from 1) it starts at."""

    name: str
    value: OptionValue
    column: int


@dataclass(frozen=True, slots=True)
class PipelineItem:
    """One pass or group: name, options in the order written, and its column (from 1)."""

    name: str
    options: tuple[PipelineOption, ...]
    column: int


def parse_pipeline(text: str) -> tuple[PipelineItem, ...]:
    """Parse a pipeline.

    Raises:
        OptionError: The text is not a pipeline; the message points at the place.
    """
    try:
        parsed: tuple[PipelineItem, ...] = _parser().parse(text)  # type: ignore[assignment] # the inline transformer returns items, not a tree
    except UnexpectedInput as error:
        raise _explained(error, text) from error
    return parsed


def pointed(message: str, text: str, column: int) -> str:
    """Return a message followed by the line of `text` it is about and a caret (column from 1)."""
    flat = text.replace("\n", " ").replace("\t", " ")
    return f"{message}\n  {flat}\n  {' ' * (column - 1)}^"


class _Builder(Transformer[Token, tuple[PipelineItem, ...]]):
    """Builds items while the text is parsed; no tree is made."""

    def start(self, items: list[PipelineItem]) -> tuple[PipelineItem, ...]:
        return tuple(items)

    def item(self, parts: list[Token | tuple[PipelineOption, ...]]) -> PipelineItem:
        name, *options = parts
        assert isinstance(name, Token)
        given = options[0] if options else ()
        return PipelineItem(str(name), given, _column(name))  # type: ignore[arg-type] # the grammar puts options here

    def options(self, given: list[PipelineOption]) -> tuple[PipelineOption, ...]:
        return tuple(given)

    def option(self, parts: tuple[Token, OptionValue]) -> PipelineOption:
        name, value = parts
        return PipelineOption(str(name), value, _column(name))

    def list(self, values: list[OptionValue]) -> OptionValue:
        return tuple(values)

    def TRUE(self, _: Token) -> bool:  # noqa: N802 # named after the terminal
        return True

    def FALSE(self, _: Token) -> bool:  # noqa: N802
        return False

    def INT(self, token: Token) -> int:  # noqa: N802
        return int(token)

    def FLOAT(self, token: Token) -> float:  # noqa: N802
        return float(token)

    def STRING(self, token: Token) -> str:  # noqa: N802
        return _unescape(token[1:-1])


def _unescape(text: str) -> str:
    pieces = text.split("\\\\")
    return "\\".join(piece.replace('\\"', '"') for piece in pieces)


def _column(token: Token) -> int:
    return (token.start_pos or 0) + 1


@functools.cache
def _parser() -> Lark:
    grammar = Path(__file__).with_name("pipeline.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", transformer=_Builder(), maybe_placeholders=False)


def _explained(error: UnexpectedInput, text: str) -> OptionError:
    accepted: set[str] = set()
    column, found = len(text) + 1, "the end"
    if isinstance(error, UnexpectedCharacters):
        column = (error.pos_in_stream or 0) + 1
        accepted, found = set(error.allowed or ()), f"'{text[column - 1]}'"
    elif isinstance(error, UnexpectedToken):
        accepted = set(error.accepts or error.expected)
        if error.token.type != "$END":
            column, found = _column(error.token), f"'{error.token}'"
    expected = " or ".join(sorted(_SPELLING[name] for name in accepted if name in _SPELLING))
    message = f"expected {expected or 'a pass'}, found {found} at column {column}"
    return OptionError(
        pointed(message, text, column),
        where="pipeline",
        help='a pipeline looks like: name,name{option=1 text="x" list=[1,2]}',
    )
