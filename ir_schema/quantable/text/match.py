"""The match language: patterns of operations, for fusions of targets and `--match`.

    Conv|MatMul [single-use] -> Relu|Clip
    %c = Conv(%x, @w, ...) [single-use, group = 1]; %y = Relu(%c)

A step is ``%result = Kind|Kind(operands) [constraints]``; all but the kinds may be left out, and
``*`` is any kind. Operands: ``%x`` any value (the same wherever it is named), ``@w`` a parameter,
``*`` any value or none, ``_`` an absent operand, ``...`` at the end any further ones; without
parentheses any operands. ``A -> B``: B's operand 0 is A's result 0. Steps are joined by names.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

from lark import Lark, Token
from lark.exceptions import UnexpectedInput

from quantable.text.faults import Fault, faults_error, syntax_fault
from quantable.text.operations import KINDS
from quantable.text.records import Record
from quantable.text.spelling import (
    BARE_NAME,
    BadPiece,
    bare,
    float_text,
    name_of,
    nearest,
    number_of,
    option_text,
    unquoted,
)

ANY = "*"
REST = "..."
ABSENT = "_"
PROPERTIES = {
    "single-use": "its result 0 has one reader and is no output of the graph",
    "quantized": "it has a quantization config",
    "float": "it has none",
}
"""What a constraint without a value demands of an operation."""
_SPELLING = {
    "KIND": "a kind of operation such as Conv", "VALUE": "a name such as %x",
    "ANY": "'*'", "REST": "'...'", "STRING": 'a string in ""', "INT": "a number",
    "FLOAT": "a number", "INFINITE": "a number", "NAN": "a number", "$END": "the end",
}  # fmt: skip

AttributeValue = int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """What one operation must be.

    Attributes:
        kinds: Its kind is one of these; none: any kind.
        operands: One word each: ``%name``, ``@name``, ``*``, ``_``, and ``...`` at the end; None:
            any operands.
        result: ``%name`` of result 0; '' where it has none.
        properties: Names of `PROPERTIES`, sorted.
        attributes: (name, value), sorted by name.
        is_chained: It follows its predecessor by an arrow.
    """

    kinds: tuple[str, ...]
    operands: tuple[str, ...] | None = None
    result: str = ""
    properties: tuple[str, ...] = ()
    attributes: tuple[tuple[str, AttributeValue], ...] = ()
    is_chained: bool = False

    def __str__(self) -> str:
        text = f"{self.result} = " if self.result else ""
        text += "|".join(self.kinds) or ANY
        if self.operands is not None:
            text += f"({', '.join(self.operands)})"
        held = [*self.properties, *(f"{key} = {_value_text(v)}" for key, v in self.attributes)]
        return f"{text} [{', '.join(held)}]" if held else text


@dataclass(frozen=True, slots=True)
class Pattern:
    """Steps that one match fills with one operation each."""

    steps: tuple[Step, ...]

    @property
    def is_chain(self) -> bool:
        """Whether each step follows the one before it by an arrow."""
        return all(step.is_chained for step in self.steps[1:])

    def __str__(self) -> str:
        text = str(self.steps[0])
        for step in self.steps[1:]:
            text += f"{' -> ' if step.is_chained else '; '}{step}"
        return text


def parse_pattern(text: str, *, source: str = "pattern") -> Pattern:
    """Return the pattern that a text is.

    Raises:
        FormatError: The text is no pattern; the message points at the place.
    """
    try:
        parsed: Record = _parser().parse(text)  # type: ignore[assignment] # the transformer makes records
    except UnexpectedInput as error:
        fault = syntax_fault(error, text, _parser(), _SPELLING)
        raise faults_error([fault], text, source) from error
    try:
        steps = [
            replace(_step(step), is_chained=number > 0)
            for chain in parsed.parts
            for number, step in enumerate(chain.parts)
        ]
        _check(steps)
    except BadPiece as bad:
        fault = Fault(bad.offset, bad.length, bad.message, bad.help)
        raise faults_error([fault], text, source) from bad
    return Pattern(tuple(steps))


class _Records:
    def __getattr__(self, name: str) -> functools.partial[Record]:
        if name.startswith("_") or not name.islower():
            raise AttributeError(name)
        return functools.partial(Record, name)


@functools.cache
def _parser() -> Lark:
    return Lark.open(
        "match.lark", rel_to=__file__, parser="lalr", transformer=_Records(),
        maybe_placeholders=False,
    )  # fmt: skip


def _at(token: Token) -> tuple[int, int]:
    return token.start_pos or 0, len(token)


def _step(record: Record) -> Step:
    fields: dict[str, Any] = {"kinds": ()}
    for part in record.parts:
        match part.rule:
            case "result":
                fields["result"] = _name(part.parts[0], "%")
            case "kinds":
                fields["kinds"] = tuple(_kind(token) for token in part.parts if token != ANY)
            case "operands":
                fields["operands"] = _operands([item.parts[0] for item in part.parts])
            case "constraints":
                fields |= _constraints(part.parts)
    return Step(**fields)


def _name(token: Token, sigils: str = "%@") -> str:
    start, length = _at(token)
    if token == ABSENT:
        if "@" not in sigils:
            raise BadPiece("a result has a name such as %y", start, length)
        return ABSENT
    if token[0] not in sigils:
        raise BadPiece(f"a result has the sigil %, found '{token}'", start, length)
    return token[0] + bare(name_of(token, start), BARE_NAME)


def _kind(token: Token) -> str:
    domain = token.rpartition(".")[0]
    if domain in ("", "quantable", "int") and token not in KINDS:
        start, length = _at(token)
        message = f"unknown kind of operation '{token[:40]}'"
        raise BadPiece(message, start, length, nearest(token, KINDS))
    return str(token)


def _operands(tokens: list[Token]) -> tuple[str, ...]:
    for token in tokens[:-1]:
        if token == REST:
            raise BadPiece("'...' stands at the end", *_at(token))
    return tuple(str(t) if t in (ANY, REST) else _name(t) for t in tokens)


def _constraints(parts: list[Record]) -> dict[str, Any]:
    properties: set[str] = set()
    attributes: dict[str, AttributeValue] = {}
    for part in parts:
        token = part.parts[0]
        start, length = _at(token)
        if part.rule == "attribute":
            if token in attributes:
                raise BadPiece(f"attribute {token} is given twice", start, length)
            attributes[str(token)] = _value(part.parts[1])
        elif token in PROPERTIES:
            properties.add(str(token))
        else:
            hint = nearest(token, PROPERTIES) or f"known: {', '.join(PROPERTIES)}"
            raise BadPiece(f"unknown property '{token[:40]}'", start, length, hint)
    return {
        "properties": tuple(sorted(properties)),
        "attributes": tuple(sorted(attributes.items())),
    }


def _value(record: Record) -> Any:
    (item,) = record.parts
    if isinstance(item, Record):
        values = tuple(_value(part) for part in item.parts)
        if len({type(value) for value in values}) > 1:
            first = item.parts[0].parts[0]
            raise BadPiece("a list holds values of one type", *_at(first))
        return values
    start, _ = _at(item)
    return unquoted(item, start) if item.type == "STRING" else number_of(item, start)


def _value_text(value: AttributeValue) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_value_text(item) for item in value)}]"
    return float_text(value) if isinstance(value, float) else option_text(value)


def _check(steps: list[Step]) -> None:
    """Refuse steps that no name and no arrow joins, and results named twice."""
    named: set[str] = set()
    results: set[str] = set()
    for number, step in enumerate(steps):
        own = {name for name in (*(step.operands or ()), step.result) if name[:1] in "%@"}
        own.discard("")
        if number and not step.is_chained and not own & named:
            raise BadPiece(
                f"step {number + 1} ({step}) shares no name with those before it",
                help="join steps by a name: %c = Conv; Relu(%c)",
            )  # fmt: skip
        if step.result and step.result in results:
            raise BadPiece(f"{step.result} is the result of two steps")
        results.add(step.result)
        named |= own
