"""Regions of a text: graphs inside operations, each in a scope of its own."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from lark import Token

from quantable.ir.region import Region
from quantable.text.operations import OperationReader
from quantable.text.spelling import nearest
from quantable.text.values import Values
from quantable.text.workbench import Workbench, start_of


class RegionReader:
    """Collects regions in the order of the text; each belongs to one operation.

    Args:
        bench: Reads tokens and remembers faults.
        checked: Whether definitions and uses must fit each other.
    """

    def __init__(self, bench: Workbench, checked: bool) -> None:
        self._bench = bench
        self._checked = checked
        self._found: dict[str, Region] = {}
        self._tokens: dict[str, Token] = {}

    def read(self, parts: list[Any]) -> None:
        """Read one statement."""
        token, name, *records = parts
        groups: dict[str, list[list[Any]]] = defaultdict(list)
        for record in records:
            groups[record.rule].append(record.parts)
        values = Values(self._bench, self._checked)
        inputs = tuple(values.declared(held[0], "input") for held in groups["input"])
        parameters = values.parameters(groups["parameter"])
        for held in groups["value"]:
            values.declared(held[0], "value")
        reader = OperationReader(self._bench, values, self._checked, self.take)
        operations = tuple(reader.operation(held) for held in groups["operation"])
        for row, position, length in reader.rows:
            if row:
                self._bench.fault(position, length, "an operation of a region has no row")
        outputs = tuple(values.used(held) for (held,) in groups["output"])
        values.finish()
        if token in self._tokens:
            first = start_of(self._tokens[token])
            self._bench.twice(f"region {token}", start_of(token), len(token), first)
            return
        self._tokens[str(token)] = token
        self._found[str(token)] = Region(
            self._bench.word(name), inputs, outputs, values.found, operations, parameters
        )

    def take(self, token: Token) -> Region | None:
        """Return a region, for the one attribute that it belongs to."""
        found = self._found.pop(str(token), None)
        if found is None:
            if token in self._tokens:
                self._bench.fault_at(token, f"region {token} belongs to another operation")
            else:
                hint = nearest(token[1:], (name[1:] for name in self._found), "$")
                self._bench.fault_at(token, f"undefined region {token}", hint)
        return found

    def finish(self) -> None:
        """Remember every region that belongs to no operation."""
        for name in self._found:
            self._bench.fault_at(self._tokens[name], f"region {name} belongs to no operation")
