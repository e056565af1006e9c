"""From text to records, one a statement, by the grammar with an inline transformer: no tree."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from lark import Lark
from lark.exceptions import UnexpectedInput

from quantable.text.faults import faults_error, syntax_fault, whole_words

SPELLING = {
    "VALUE": "a name such as %x or @w", "ROW": "a row such as #a", "SCHEME": "a scheme such as !0",
    "REGION": "a region such as $0",
    "WORD": "a word", "STRING": 'a string in ""', "INT": "an integer", "FLOAT": "a number",
    "DOUBLE": "a number", "INFINITE": "a number", "NAN": "a number", "_COMMA": "','",
    "TYPE": "a type such as f32[1, 3]", "LIST": "a list in []",
    "DIGEST": "a digest such as sha256:...", "OPERANDS": "operands in ()", "_EQUAL": "'='",
    "_COLON": "':'", "_OPEN": "'{'", "_ARROW": "'->'",
    "$END": "the end",
}  # fmt: skip
"""What messages call a terminal that is no keyword."""


class Record(NamedTuple):
    """What one rule matched.

    Attributes:
        rule: Name of the rule.
        parts: Tokens, and records of the rules inside.
    """

    rule: str
    parts: list[Any]


class _Records:
    """Makes a record of every rule; rules with a leading `_` are spliced into theirs by lark."""

    def __getattr__(self, name: str) -> functools.partial[Record]:
        if name.startswith("_") or not name.islower():
            raise AttributeError(name)
        return functools.partial(Record, name)


@functools.cache
def graph_parser() -> Lark:
    """Return the parser of graphs; built once."""
    return Lark.open(
        "graph.lark", rel_to=__file__, parser="lalr", lexer="contextual",
        transformer=_Records(), maybe_placeholders=False,
        edit_terminals=whole_words,
    )  # fmt: skip


def read_records(text: str, source: str) -> list[Record]:
    """Return the records of a graph's text.

    Raises:
        FormatError: The text breaks the grammar; the message points at the place.
    """
    parser = graph_parser()
    try:
        parsed: Record = parser.parse(text)  # type: ignore[assignment] # the transformer makes records
    except UnexpectedInput as error:
        fault = syntax_fault(error, text, parser, SPELLING)
        raise faults_error([fault], text, source) from error
    return parsed.parts
