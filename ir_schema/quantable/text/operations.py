"""Operations of a text."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from lark import Token

from quantable.ir.integer_operations import INTEGER_OPERATIONS
from quantable.ir.operation import Attribute, BakedParameter, Operation, QuantableOperation
from quantable.ir.quantization import OperationQuantizationConfig, TensorQuantizationConfig
from quantable.ir.region import Region
from quantable.ir.standard_operations import known_operations
from quantable.text.pieces import string_of
from quantable.text.records import Record
from quantable.text.spelling import nearest, number_of
from quantable.text.values import Values
from quantable.text.workbench import Workbench, start_of

KINDS: frozenset[str] = frozenset({*known_operations(), "quantable.Linear", *INTEGER_OPERATIONS})
"""Kinds of the domains that Quantable knows; another domain may hold any kind."""


_ZERO: int | float = 0


class OperationReader:
    """Makes operations of records.

    Args:
        bench: Reads tokens and remembers faults.
        values: Knows the values defined so far.
        checked: Whether kinds, names and numbers of slots are checked.
        take_region: Returns the region that an attribute refers to, None with a fault.

    Attributes:
        rows: (name, position, length) of every row that a slot refers to.
    """

    def __init__(
        self,
        bench: Workbench,
        values: Values,
        checked: bool,
        take_region: Callable[[Token], Region | None],
    ) -> None:
        self._take_region = take_region
        self.rows: list[tuple[str, int, int]] = []
        self._bench = bench
        self._values = values
        self._checked = checked
        self._named: dict[str, int] = {}

    def operation(self, parts: list[Any]) -> Operation:
        """Return the operation of one statement."""
        subject, kind_token, operand_token, results, *rest = parts
        blocks: dict[str, list[Any]] = {record.rule: record.parts for record in rest}
        name, kind = self._bench.name(subject), self._bench.word(kind_token)
        if self._checked:
            self._check_subject(subject, name)
            self._check_kind(kind_token, kind)
        operands = self._bench.operands(operand_token)
        inputs = tuple(self._values.use(*item) for item in operands or ())
        outputs = tuple(self._values.declared(record, "result") for record in results.parts)
        sources = (
            tuple(self._bench.items(blocks["sources"][0], string_of, ""))
            if "sources" in blocks
            else ()
        )
        attributes = self._attributes(blocks.get("attributes", []))
        basic = (name, kind, inputs, outputs, attributes, sources)
        counts = (None if operands is None else len(inputs), len(outputs))
        if "quantization" not in blocks:
            return Operation(*basic)
        return QuantableOperation(*basic, *self._quantization(blocks["quantization"], counts))

    def _check_subject(self, token: Token, name: str) -> None:
        if token[0] != "@":
            self._bench.fault_at(
                token, f"an operation's name has the sigil @, found '{token}'",
                f"write @{token[1:]}" if len(token) > 1 else "",
            )  # fmt: skip
        if name in self._named:
            what = f"operation {token}"
            self._bench.twice(what, start_of(token), len(token), self._named[name])
        self._named.setdefault(name, start_of(token))

    def _check_kind(self, token: Token, kind: str) -> None:
        domain = kind.rpartition(".")[0]
        if domain in ("", "quantable", "int") and kind not in KINDS:
            hint = nearest(kind, KINDS) or "a kind of another domain is domain.Kind"
            self._bench.fault_at(token, f"unknown kind of operation '{kind[:40]}'", hint)

    def _attributes(self, records: list[Record]) -> dict[str, Attribute]:
        held = []
        for key, item in (record.parts for record in records):
            value = self._item(item)
            if value is not None:
                held.append((self._bench.word(key), key, self._normal(key, value)))
        return self._bench.unique("attribute", held)

    def _item(self, item: Record | Token) -> Any:
        if isinstance(item, Record):
            if item.rule == "inner":
                return self._take_region(item.parts[0])
            return self._bench.contents(item)
        if item.type == "STRING":
            return self._bench.word(item)
        if item.type != "LIST":
            return self._bench.attempt(start_of(item), partial(number_of, str(item)), _ZERO)
        if item[1:].lstrip().startswith('"'):
            return tuple(self._bench.items(item, string_of, ""))
        return tuple(self._bench.items(item, number_of, _ZERO))

    def _normal(self, key: Token, value: Any) -> Any:
        if isinstance(value, tuple):
            kinds = {type(entry) for entry in value}
            if kinds == {int, float}:
                self._bench.fault_at(
                    key, f"attribute {key} mixes integers and floats",
                    "write all of them as floats: 1.0",
                )  # fmt: skip
                return ()
        return value

    def _quantization(self, parts: list[Any], counts: tuple[int | None, int]) -> tuple[Any, ...]:
        platform, inputs, outputs, *rest = parts
        blocks: dict[str, list[Record]] = {record.rule: record.parts for record in rest}
        config = OperationQuantizationConfig(
            self._slots("in", inputs, counts[0]),
            self._slots("out", outputs, counts[1]),
        )
        originals = []
        for record in blocks.get("originals", []):
            slot, dense = record.parts
            ref = self._bench.contents(dense)
            if ref is not None:
                originals.append((self._slot_number(slot, counts[0]), ref))
        baked = []
        for record in blocks.get("baked", []):
            slot, dense, digest = record.parts
            ref = self._bench.contents(dense)
            if ref is not None:
                number = self._slot_number(slot, counts[0])
                baked.append(BakedParameter(number, ref, self._bench.word(digest)))
        return config, self._bench.word(platform), tuple(originals), tuple(baked)

    def _slot_number(self, token: Token, count: int | None) -> int:
        if self._checked and count is not None:
            return self._bench.integer(token, 0, max(count - 1, 0))
        return self._bench.integer(token)

    def _slots(
        self, side: str, token: Token, count: int | None
    ) -> tuple[TensorQuantizationConfig, ...]:
        slots = self._bench.slots(token)
        self.rows += [
            (config.row, position, length) for config, position, length in slots if length
        ]
        if self._checked and count is not None and len(slots) != count:
            what = "operand" if side == "in" else "result"
            expected = f"expected {count} slot{'s' * (count != 1)} in '{side}'"
            self._bench.fault_at(token, f"{expected}, one for each {what}, found {len(slots)}")
        return tuple(config for config, _, _ in slots)
