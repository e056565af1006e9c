"""Faults in a text: each with its place, its line, a caret, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lark import Lark
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken
from lark.lexer import PatternRE, PatternStr, TerminalDef

from quantable.ir.errors import FormatError
from quantable.text.spelling import nearest

MAX_FAULTS = 20
"""So many are shown at once."""
_WIDTH = 100
_WORD_END = "(?![A-Za-z0-9_.-])"
_PIECE = re.compile(r'"(?:[^"\\\n]|\\.)*"|sha256:\w*|[%@#!]?[A-Za-z0-9_./$-]+|->|.', re.DOTALL)
_OPEN = {
    '"': ("STRING", "a string is not closed"),
    "[": ("LIST", "a '[' is not closed"),
    "(": ("OPERANDS", "a '(' is not closed"),
}
"""For what begins a token that must end in the same line: the token, and what a message says."""


def whole_words(terminal: TerminalDef) -> None:
    """Let a keyword match a whole word only; a grammar's `edit_terminals`."""
    if isinstance(terminal.pattern, PatternStr) and terminal.pattern.value[0].isalpha():
        terminal.pattern = PatternRE(terminal.pattern.value + _WORD_END)
        terminal.priority = 1


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One fault.

    Attributes:
        position: Index of the first character that is at fault.
        length: How many characters.
        message: What is wrong.
        help: What to write instead.
    """

    position: int
    length: int
    message: str
    help: str = ""


def place_of(text: str, position: int) -> tuple[int, int]:
    """Return line and column of a character, from 1."""
    start = text.rfind("\n", 0, position) + 1
    return text.count("\n", 0, position) + 1, position - start + 1


def excerpt(text: str, position: int, length: int) -> str:
    """Return two lines: the line of the fault (a part of it where it is long), and carets."""
    start = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    line = text[start : len(text) if end < 0 else end].rstrip()
    column = position - start
    first = max(0, min(column - _WIDTH // 3, len(line) - _WIDTH))
    shown = "".join(c if c.isprintable() else " " for c in line[first : first + _WIDTH])
    head, tail = "…" * (first > 0), "…" * (first + _WIDTH < len(line))
    at = column - first
    carets = "^" * max(1, min(length, len(shown) - at))
    return f"{f'  {head}{shown}{tail}'.rstrip()}\n  {' ' * (len(head) + at)}{carets}"


def faults_error(faults: Iterable[Fault], text: str, source: str) -> FormatError:
    """Return one error for all faults, in the order of the text; at most `MAX_FAULTS` are shown."""
    found = sorted(set(faults))
    shown = found[:MAX_FAULTS]
    blocks = []
    for number, fault in enumerate(shown):
        line, column = place_of(text, fault.position)
        where = f"{source}:{line}:{column}"
        block = f"{fault.message}\n{excerpt(text, fault.position, fault.length)}"
        if number < len(shown) - 1 and fault.help:
            block += f"\n  help: {fault.help}"
        blocks.append(block if number == 0 else f"{where}: {block}")
        if number == 0:
            place = where
    if len(found) > len(shown):
        blocks[-1] += f"\nand {len(found) - len(shown)} more faults"
    return FormatError("\n".join(blocks), where=place, help=shown[-1].help)


def syntax_fault(
    error: UnexpectedInput, text: str, parser: Lark, spelling: Mapping[str, str]
) -> Fault:
    """Return what lark refused, in the user's words.

    Args:
        error: What lark raised.
        text: The text.
        parser: The parser that raised it.
        spelling: What each terminal that is no keyword is called in messages.
    """
    accepted: set[str] = set()
    position = len(text)
    if isinstance(error, UnexpectedCharacters):
        position, accepted = error.pos_in_stream or 0, set(error.allowed or ())
    elif isinstance(error, UnexpectedToken):
        accepted = set(error.accepts or error.expected)
        if error.token.type != "$END":
            position = error.token.start_pos or 0
    found = found_at(text, position)
    keywords, others = _spelled(accepted, parser, spelling)
    expected = _choice(others + [f"'{word}'" for word in keywords])
    length = max(1, len(found))
    if found[:1] in _OPEN and _OPEN[found[:1]][0] in accepted and len(found) == 1:
        return Fault(position, 1, _OPEN[found][1])
    shown = f"'{found}'" if found else "the end"
    return Fault(position, length, f"expected {expected}, found {shown}", nearest(found, keywords))


def found_at(text: str, position: int) -> str:
    """Return the word, string or character at a position; '' at the end."""
    match = _PIECE.match(text, position)
    return match[0][:40] if match else ""


def _spelled(
    accepted: set[str], parser: Lark, spelling: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Return keywords and marks as they are written, and what the other terminals are called."""
    literal = {
        item.name: item.pattern.value.removesuffix(_WORD_END)
        for item in parser.terminals
        if item.name not in spelling
    }
    keywords = sorted(literal[name] for name in accepted if name in literal)
    others = sorted({spelling[name] for name in accepted if name in spelling})
    if "a number" in others and "an integer" in others:
        others.remove("an integer")
    return keywords, others


def _choice(words: Sequence[str]) -> str:
    if len(words) < 2:
        return "".join(words) or "nothing more"
    return f"{', '.join(words[:-1])} or {words[-1]}"
