"""How names, strings and numbers are spelled, in both directions.

What one function writes, the other reads back exactly. A reader raises `BadPiece`, which knows the
offset in its own text; the caller knows where that text lies.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import struct
from collections.abc import Callable, Iterable
from json.encoder import encode_basestring, encode_basestring_ascii

import numpy as np

BARE_NAME = re.compile(r"[A-Za-z0-9_./$-]+").fullmatch
BARE_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch
BARE_KIND = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*").fullmatch
_INTEGER = re.compile(r"[+-]?[0-9]+").fullmatch
_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII).fullmatch
_HEXADECIMAL = re.compile(r"[+-]?0x[0-9a-f]+(?:\.[0-9a-f]*)?p[+-]?\d+", re.ASCII).fullmatch
_ODD_NAN = re.compile(r"nan:0x[0-9a-f]{1,16}").fullmatch
_FLOAT32 = struct.Struct("<f")
_FLOAT64 = struct.Struct("<d")
_CANONICAL_NAN = 0x7FF8000000000000
_MAX_DIGITS = 1000
_MAX_CANDIDATES = 2000
_MAX_NAME = 120


class BadPiece(Exception):
    """A part of a text that cannot be read.

    Args:
        message: What is wrong.
        offset, length: Where, in the text that was given.
        help: What to do.
    """

    def __init__(self, message: str, offset: int = 0, length: int = 1, help: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.length = length
        self.help = help


def quoted(text: str) -> str:
    """Return a text as a JSON string on one line."""
    return encode_basestring(text) if text.isprintable() else encode_basestring_ascii(text)


def unquoted(text: str, offset: int = 0) -> str:
    """Return the text of a JSON string (quotes included) that begins at `offset`.

    Raises:
        BadPiece: An escape that JSON does not know, a control character, or half a surrogate pair.
    """
    held = text[1:-1]
    if "\\" in held or not held.isprintable():
        try:
            held = json.loads(text)
        except json.JSONDecodeError as error:
            reason = f"a string cannot be read: {error.msg.lower().removesuffix(' at')}"
            raise BadPiece(
                reason, offset + error.pos, help='escapes are those of JSON: \\" \\\\ \\n \\u00e9'
            ) from error
    if any("\ud800" <= char <= "\udfff" for char in held):
        raise BadPiece("a string holds half of a surrogate pair", offset, len(text))
    return held


def bare(text: str, is_bare: Callable[[str], object]) -> str:
    """Return a name as it is, or quoted."""
    return text if is_bare(text) else quoted(text)


def name_of(spelled: str, offset: int = 0) -> str:
    """Return the name behind a sigil; '' for the absent value `_`."""
    if spelled == "_":
        return ""
    return unquoted(spelled[1:], offset + 1) if spelled[1:2] == '"' else spelled[1:]


def word_of(spelled: str, offset: int = 0) -> str:
    """Return a word that may be quoted."""
    return unquoted(spelled, offset) if spelled.startswith('"') else spelled


def float_text(value: float) -> str:
    """Return the shortest decimal that gives back a number; ``d`` marks one beyond float32."""
    if value != value:
        bits = int.from_bytes(_FLOAT64.pack(value), "little")
        return "nan" if bits == _CANONICAL_NAN else f"nan:{bits:#x}"
    try:
        is_float32 = _FLOAT32.unpack(_FLOAT32.pack(value))[0] == value
    except OverflowError:
        is_float32 = False
    if not is_float32:
        return f"{value!r}d"
    text = str(np.float32(value))
    # The shortest float32 digits are read through a float64: rounding twice must not lose them.
    return text if _FLOAT32.unpack(_FLOAT32.pack(float(text)))[0] == value else repr(value)


def integer_of(text: str, low: int, high: int, offset: int = 0) -> int:
    """Return an integer of a closed range.

    Raises:
        BadPiece: It is no integer, or outside the range.
    """
    if not _INTEGER(text):
        raise BadPiece(f"expected an integer, found '{text[:40]}'", offset, len(text))
    value = int(text) if len(text) < _MAX_DIGITS else high + 1
    if not low <= value <= high:
        raise BadPiece(
            f"expected an integer from {low} to {high}, found {text[:40]}", offset, len(text)
        )
    return value


def number_of(text: str, offset: int = 0) -> int | float:
    """Return an int64, a float32 (as float), or, with a ``d`` at the end, a float64.

    Raises:
        BadPiece: It is no number, or beyond its type.
    """
    if _INTEGER(text):
        return integer_of(text, -(1 << 63), (1 << 63) - 1, offset)
    if text.endswith("d"):
        return real_of(text[:-1], offset)
    value = real_of(text, offset)
    if math.isnan(value):
        return value
    try:
        return float(_FLOAT32.unpack(_FLOAT32.pack(value))[0])
    except OverflowError as error:
        raise BadPiece(
            f"{text[:40]} is beyond float32", offset, len(text), f"write a float64: {text[:40]}d"
        ) from error


def real_of(text: str, offset: int = 0) -> float:
    """Return a float64.

    Raises:
        BadPiece: It is no number, or beyond float64.
    """
    if text in ("inf", "+inf", "-inf", "nan"):
        return float(text)
    if _ODD_NAN(text):
        bits = int(text[4:], 16)
        value = float(_FLOAT64.unpack(bits.to_bytes(8, "little"))[0])
        if value == value:
            raise BadPiece(f"the bits {text[4:]} are no NaN", offset, len(text))
        return value
    try:
        if len(text) < _MAX_DIGITS and _HEXADECIMAL(text):
            return float.fromhex(text)
        if len(text) < _MAX_DIGITS and _DECIMAL(text) and math.isfinite(float(text)):
            return float(text)
    except OverflowError:
        pass  # reported below
    if text[:1].isalpha() or not text:
        near = nearest(text, ("inf", "nan"))
        raise BadPiece(f"expected a number, found '{text[:40]}'", offset, max(len(text), 1), near)
    raise BadPiece(f"{text[:40]} is no number that a float64 holds", offset, len(text))


def option_text(value: object) -> str:
    """Return a value of an option in the pipeline language; it is read back, exactly.

    Raises:
        TypeError: An option cannot hold the value.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return float_text(value) if value != value else repr(value)
    if isinstance(value, tuple):
        return f"[{','.join(option_text(item) for item in value)}]"
    raise TypeError(f"no option holds a {type(value).__name__}")


def nearest(name: str, known: Iterable[str], sigil: str = "") -> str:
    """Return "did you mean ...?" with up to three names like `name`; '' where none is."""
    if len(name) > _MAX_NAME:
        return ""
    # Only names of about the same length can be near; the bound keeps huge graphs quick.
    pool = [
        item for item in known if item != name and 2 * abs(len(item) - len(name)) <= len(name) + 1
    ]
    if len(pool) > _MAX_CANDIDATES:
        pool = [item for item in pool if item[:2] == name[:2] or item[-2:] == name[-2:]]
    near = difflib.get_close_matches(name, pool[:_MAX_CANDIDATES], n=3, cutoff=0.6)
    return (
        f"did you mean {', '.join(sigil + bare(item, BARE_NAME) for item in near)}?" if near else ""
    )
