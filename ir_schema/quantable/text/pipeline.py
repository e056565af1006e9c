"""The pipeline language: names of passes with options, as text.

fold-batchnorm,dispatch{mode="all-in"},calibrate{observer="kl" bins=2048}
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedInput

from quantable.ir.errors import OptionError
from quantable.text.faults import syntax_fault, whole_words
from quantable.text.spelling import BadPiece, integer_of, real_of, unquoted

Scalar = bool | int | float | str
_INT64 = (-(1 << 63), (1 << 63) - 1)
OptionValue = Scalar | tuple["OptionValue", ...]

_SPELLING = {
    "NAME": "a name", "INT": "an integer", "FLOAT": "a number", "INFINITE": "a number",
    "NAN": "a number", "STRING": 'a string in ""', "$END": "the end",
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
    except BadPiece as bad:
        message = f"{bad.message} at column {bad.offset + 1}"
        raise OptionError(
            pointed(message, text, bad.offset + 1), where="pipeline", help=bad.help
        ) from bad
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
        return integer_of(token, *_INT64, _column(token) - 1)

    def FLOAT(self, token: Token) -> float:  # noqa: N802
        return real_of(token, _column(token) - 1)

    INFINITE = NAN = FLOAT

    def STRING(self, token: Token) -> str:  # noqa: N802
        return unquoted(token, _column(token) - 1)


def _column(token: Token) -> int:
    return (token.start_pos or 0) + 1


@functools.cache
def _parser() -> Lark:
    return Lark.open(
        "pipeline.lark", rel_to=__file__, parser="lalr", transformer=_Builder(),
        maybe_placeholders=False, edit_terminals=whole_words,
    )  # fmt: skip


def _explained(error: UnexpectedInput, text: str) -> OptionError:
    fault = syntax_fault(error, text, _parser(), _SPELLING)
    message = f"{fault.message} at column {fault.position + 1}"
    return OptionError(
        pointed(message, text, fault.position + 1),
        where="pipeline",
        help='a pipeline looks like: name,name{option=1 text="x" list=[1,2]}',
    )
