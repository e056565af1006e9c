"""Turns tokens into names, types, contents and configs; remembers what it has read, and all faults.

The same types, slots and contents occur thousands of times in a graph: each is taken apart once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from lark import Token

from quantable.ir.contents import ContentRef, ContentStore
from quantable.ir.dtypes import DType
from quantable.ir.errors import FormatError
from quantable.ir.quantization import TensorQuantizationConfig
from quantable.ir.values import Container
from quantable.text.faults import Fault, faults_error
from quantable.text.pieces import (
    ValueType,
    contents_of,
    list_of,
    operands_of,
    slot_of,
    value_type_of,
)
from quantable.text.records import Record
from quantable.text.spelling import BadPiece, integer_of, name_of, word_of

Item = TypeVar("Item")
UINT32 = (1 << 32) - 1
UINT64 = (1 << 64) - 1
UNKNOWN_TYPE: ValueType = (DType.FLOAT32, None, Container.TENSOR)


class Workbench:
    """Reads tokens of one text.

    Args:
        text: The whole text.
        store: Where elements go.
        source: Name of the text, for messages.
    """

    def __init__(self, text: str, store: ContentStore, source: str) -> None:
        self.text = text
        self.store = store
        self.source = source
        self.schemes: dict[str, TensorQuantizationConfig] = {}
        self._faults: list[Fault] = []
        self._names: dict[str, str] = {"_": ""}
        self._types: dict[str, ValueType] = {}
        self._contents: dict[tuple[str, str], ContentRef] = {}
        self._slots: dict[str, tuple[TensorQuantizationConfig, int, int]] = {}

    @property
    def fault_count(self) -> int:
        """How many faults there are."""
        return len(self._faults)

    def fault(self, position: int, length: int, message: str, hint: str = "") -> None:
        """Remember a fault."""
        self._faults.append(Fault(position, length, message, hint))

    def fault_at(self, token: Token, message: str, hint: str = "") -> None:
        """Remember a fault of a whole token."""
        self.fault(start_of(token), len(token), message, hint)

    def failed(self) -> FormatError | None:
        """Return the error of all faults; None where there is none."""
        return faults_error(self._faults, self.text, self.source) if self._faults else None

    def attempt(self, start: int, make: Callable[[], Item], otherwise: Item) -> Item:
        """Return what `make` makes of the text at `start`, or, with a fault, `otherwise`."""
        try:
            return make()
        except BadPiece as bad:
            self.fault(start + bad.offset, bad.length, bad.message, bad.help)
            return otherwise

    def name(self, token: Token) -> str:
        """Return the name behind a sigil; '' for `_`."""
        held = self._names.get(token)
        if held is None:
            held = self.attempt(start_of(token), lambda: name_of(token), "")
            self._names[str(token)] = held
        return held

    def word(self, token: Token) -> str:
        """Return a word or the text of a string."""
        return self.attempt(start_of(token), lambda: word_of(token), "")

    def integer(self, token: Token, low: int = 0, high: int = UINT32) -> int:
        """Return an integer of a closed range."""
        return self.attempt(start_of(token), lambda: integer_of(token, low, high), low)

    def type(self, token: Token) -> ValueType:
        """Return element type, shape and container."""
        held = self._types.get(token)
        if held is None:
            held = self.attempt(start_of(token), lambda: value_type_of(token), UNKNOWN_TYPE)
            self._types[str(token)] = held
        return held

    def operands(self, token: Token) -> list[tuple[str, int, int]] | None:
        """Return (name as spelled, position, length) of each operand; None where one is none."""
        start = start_of(token)
        nothing: list[tuple[str, int, int]] | None = None
        found = self.attempt(start, lambda: operands_of(token), nothing)
        return found and [(spelled, start + at, length) for spelled, at, length in found]

    def operand(self, spelled: str, position: int) -> str:
        """Return the name of an operand."""
        held = self._names.get(spelled)
        if held is None:
            held = self.attempt(position, lambda: name_of(spelled), "")
            self._names[spelled] = held
        return held

    def items(self, token: Token, make: Callable[[str, int], Item], otherwise: Item) -> list[Item]:
        """Return what `make` makes of each item of a list."""
        start = start_of(token)
        return [
            self.attempt(start, functools.partial(make, item, at), otherwise)
            for item, at in list_of(token)
        ]

    def slots(self, token: Token) -> list[tuple[TensorQuantizationConfig, int, int]]:
        """Return the config of each slot, and position and length of its row's name."""
        found = []
        for item, at in list_of(token):
            start = start_of(token) + at
            held = self._slots.get(item)
            if held is None:
                nothing = (TensorQuantizationConfig(), 0, 0)
                held = self.attempt(start, functools.partial(slot_of, item, self.schemes), nothing)
                self._slots[item] = held
            config, offset, length = held
            found.append((config, start + offset, length))
        return found

    def contents(self, record: Record) -> ContentRef | None:
        """Return the contents of a `dense` record; None where they are at fault."""
        type_, payload = record.parts
        key = (str(type_), str(payload))
        held = self._contents.get(key)
        if held is None:
            try:
                held = contents_of(*key, self.store)
            except BadPiece as bad:
                in_type = bad.offset < len(type_)
                start = start_of(type_) if in_type else start_of(payload) - len(type_)
                self.fault(start + bad.offset, bad.length, bad.message, bad.help)
                return None
            self._contents[key] = held
        return held

    def unique(
        self, what: str, items: Iterable[tuple[str, Token, Any]], sigil: str = ""
    ) -> dict[str, Any]:
        """Return items by name; the second of a name is a fault."""
        found: dict[str, Any] = {}
        first: dict[str, int] = {}
        for name, token, item in items:
            if name in found:
                self.twice(f"{what} {sigil}{name}", start_of(token), len(token), first[name])
                continue
            found[name] = item
            first[name] = start_of(token)
        return found

    def twice(self, what: str, position: int, length: int, first: int) -> None:
        """Remember that something is given twice."""
        line = self.text.count("\n", 0, first) + 1
        self.fault(position, length, f"{what} is given twice, first in line {line}")


def start_of(token: Token) -> int:
    """Return the position of a token's first character."""
    return token.start_pos or 0
