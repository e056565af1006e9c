"""Verify the bytes of a FlatBuffer and read them, in one walk.

FlatBuffers for Python has no verifier: its reader follows whatever offsets it finds. This one is
driven by the layout that `generate` derives from the .fbs files. It checks, as the verifiers of
other languages do, that every table, vtable, vector, string and scalar lies inside the buffer and
is aligned, that vtables have an even size, that fields lie inside their table and do not overlap,
that strings are UTF-8 and end with a zero byte, that required fields are there, and that unions
have a known type. Fields that a newer schema appended are not looked at.

Tables with the same vtable have the same plan, which reads all scalars and offsets of a table with
one call of `struct`. Offsets may share targets; so that a small file cannot make the reader visit
one target very often, the bytes visited are limited to a multiple of the size of the file. No table
of the schemas holds its own kind, so their nesting is bounded.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

from quantable.ir.errors import FormatError
from quantable.schema.fields import OFFSET_BYTES, VTABLE_HEADER, default_of, width_of
from quantable.schema.generated.layout import LAYOUT
from quantable.schema.tables import TABLES, tables_of

VISITS_PER_BYTE = 4
_U16 = struct.Struct("<H").unpack_from
_U32 = struct.Struct("<I").unpack_from
_I32 = struct.Struct("<i").unpack_from

Link = tuple[int, int, int, Callable[..., Any], tuple[Any, ...], str]
"""(index in the tuple, offset in the table, offset of a union's type or 0, reader, its arguments,
place)."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """How to read tables of one vtable."""

    size: int
    unpack: Callable[[bytes, int], tuple[Any, ...]]
    defaults: tuple[Any, ...]
    order: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    make: Callable[[Any], Any]
    links: tuple[Link, ...]


class Decoder:
    """Reads one size-prefixed buffer. Positions count from its first byte.

    Args:
        data: Size prefix and FlatBuffer.
        where: The file, for messages.
        layout: The layout of the schema; by default that of this version.
    """

    def __init__(self, data: bytes, where: str, layout: dict[str, Any] = LAYOUT) -> None:
        self._data = data
        self._size = len(data)
        self._where = where
        self._layout = layout
        self._classes = TABLES if layout is LAYOUT else tables_of(layout)
        self._budget = VISITS_PER_BYTE * self._size
        self._plans: dict[tuple[int, int, str], _Plan] = {}
        self._root = self._target(4, "root")

    def root_scalars(self, table: str, names: tuple[str, ...]) -> list[int]:
        """Return 16-bit fields of the root, 0 where absent, verifying only what that takes."""
        offsets = self._offsets(self._root, table)[1]
        return [_U16(self._data, self._root + offsets[n])[0] if n in offsets else 0 for n in names]

    def root_place(self, table: str, name: str) -> int | None:
        """Return where a scalar field of the root lies; None where it is absent."""
        offset = self._offsets(self._root, table)[1].get(name)
        return None if offset is None else self._root + offset

    def decode(self, table: str) -> Any:
        """Verify everything that can be reached from the root, and return the root.

        Raises:
            FormatError: Says what is wrong, at which byte and in which field.
        """
        return self._table(self._root, table)

    def _error(self, what: str, position: int, place: str) -> FormatError:
        return FormatError(
            f"corrupt file: {what}, at byte {position} in {place}",
            where=self._where,
            help="write the file again from its source, or fetch it again",
        )

    def _visit(self, count: int, position: int, place: str) -> None:
        self._budget -= count
        if self._budget < 0:
            raise self._error("offsets point to the same bytes too often", position, place)

    def _target(self, position: int, place: str) -> int:
        """Return where the offset at a position points to; the target holds at least 4 bytes."""
        target: int = position + _U32(self._data, position)[0]
        return self._checked(target, position, place)

    def _checked(self, target: int, position: int, place: str) -> int:
        if target + 4 > self._size:
            raise self._error("an offset leaves the file", position, place)
        if target % OFFSET_BYTES:
            raise self._error("an offset is not aligned", position, place)
        return target

    def _vtable_of(self, position: int, table: str) -> tuple[int, int]:
        """Return position and size of a table's vtable."""
        vtable = position - _I32(self._data, position)[0]
        if vtable < 0 or vtable % 2 or vtable + VTABLE_HEADER > self._size:
            raise self._error("a vtable is outside the file or not aligned", position, table)
        size = _U16(self._data, vtable)[0]
        if size < VTABLE_HEADER or size % 2 or vtable + size > self._size:
            raise self._error(f"a vtable has {size} bytes", vtable, table)
        return vtable, size

    def _offsets(self, position: int, table: str) -> tuple[int, dict[str, int]]:
        """Return the size of a table, and where in it every known field that is present lies."""
        vtable, size = self._vtable_of(position, table)
        table_size = _U16(self._data, vtable + 2)[0]
        if table_size < 4 or position + table_size > self._size:
            raise self._error(f"a table has {table_size} bytes", position, table)
        found: dict[str, int] = {}
        for field in self._layout["tables"][table]:
            slot, name, kind, _, _, required, _ = field
            place = f"{table}.{name}"
            offset = self._slot(vtable, size, slot)
            if offset:
                width = width_of(field) if kind == "scalar" else OFFSET_BYTES
                self._inside(vtable, offset, width, table_size, place)
                found[name] = offset
            elif required:
                raise self._error("a required field is absent", vtable, place)
            if kind == "union":
                type_offset = self._slot(vtable, size, slot - 1)
                if bool(type_offset) != bool(offset):
                    raise self._error("a union has only a type or only a value", vtable, place)
                if type_offset:
                    self._inside(vtable, type_offset, 1, table_size, place)
                    found[name + "_type"] = type_offset
        return table_size, found

    def _slot(self, vtable: int, size: int, slot: int) -> int:
        entry = VTABLE_HEADER + 2 * slot
        offset: int = _U16(self._data, vtable + entry)[0] if entry < size else 0
        return offset

    def _inside(self, vtable: int, offset: int, width: int, table_size: int, place: str) -> None:
        if offset < 4 or offset + width > table_size:
            raise self._error("a field is outside its table", vtable, place)

    def _plan(self, position: int, table: str) -> _Plan:
        """Return how to read a table, and all others with its vtable and its residue mod 8."""
        size, offsets = self._offsets(position, table)
        fields = self._layout["tables"][table]
        present: list[tuple[int, str, int]] = []
        links: list[Link] = []
        for index, field in enumerate(fields):
            _, name, kind, code, child, _, _ = field
            offset = offsets.get(name)
            if offset is None:
                continue
            width, place = width_of(field) if kind == "scalar" else 4, f"{table}.{name}"
            if (position + offset) % width:
                raise self._error("a field is not aligned", position + offset, place)
            present.append((offset, code if kind == "scalar" else "I", index))
            if kind != "scalar":
                reader, arguments = self._reader(kind, code, child, place)
                links.append(
                    (index, offset, offsets.get(name + "_type", 0), reader, arguments, place)
                )
        present.sort()
        unpack = struct.Struct(self._format(present, position, table)).unpack_from
        order = {index: number for number, (_, _, index) in enumerate(present)}
        defaults = tuple(default_of(field) for field in fields)
        picked = [order.get(index, len(present) + index) for index in range(len(fields))]
        getter: Callable[[Any], Any] = itemgetter(*picked)
        if len(picked) == 1:
            getter = partial(_single, picked[0])
        make = partial(tuple.__new__, self._classes[table])
        return _Plan(size, unpack, defaults, getter, make, tuple(links))

    def _format(self, present: list[tuple[int, str, int]], position: int, table: str) -> str:
        text, end = "<", 0
        for offset, code, _ in present:
            if offset < end:
                raise self._error("two fields overlap", position, table)
            text += f"{offset - end}x{code}"
            end = offset + struct.calcsize("<" + code)
        return text

    def _reader(
        self, kind: str, code: str, child: str, place: str
    ) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return what reads the target of an offset, and its arguments after the position."""
        match kind:
            case "string":
                return self._string, (place,)
            case "table":
                return self._table, (child,)
            case "union":
                return self._union, (self._layout["unions"][child], place)
            case "scalars":
                return self._scalars, (code, struct.calcsize("<" + code), place)
            case "strings":
                return self._sequence, (self._string, place, place)
        return self._sequence, (self._table, child, place)

    def _table(self, position: int, table: str) -> Any:
        vtable = position - _I32(self._data, position)[0]
        key = (vtable, position & 7, table)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._plan(position, table)
        if position + plan.size > self._size:
            raise self._error(f"a table has {plan.size} bytes", position, table)
        self._visit(plan.size, position, table)
        values = plan.order(plan.unpack(self._data, position) + plan.defaults)
        if not plan.links:
            return plan.make(values)
        held = list(values)
        for index, offset, type_offset, reader, arguments, place in plan.links:
            at = position + offset
            target = self._checked(at + held[index], at, place)
            if type_offset:
                held[index] = reader(target, self._data[position + type_offset], *arguments)
            else:
                held[index] = reader(target, *arguments)
        return plan.make(held)

    def _union(self, target: int, number: int, members: list[str], place: str) -> Any:
        if not 0 < number <= len(members):
            raise self._error(f"a union has the unknown type {number}", target, place)
        return self._table(target, members[number - 1])

    def _elements(self, start: int, width: int, place: str) -> int:
        """Return the number of elements of a vector, all inside the file and aligned."""
        length: int = _U32(self._data, start)[0]
        if start + 4 + length * width > self._size:
            raise self._error(f"a vector of {length} elements leaves the file", start, place)
        if length and (start + 4) % width:
            raise self._error("a vector is not aligned", start, place)
        self._visit(4 + length * width, start, place)
        return length

    def _scalars(self, start: int, code: str, width: int, place: str) -> Any:
        length = self._elements(start, width, place)
        if code == "B":
            return self._data[start + 4 : start + 4 + length]
        return struct.unpack_from(f"<{length}{code}", self._data, start + 4)

    def _sequence(self, start: int, read: Callable[..., Any], argument: str, place: str) -> Any:
        length = self._elements(start, OFFSET_BYTES, place)
        first = start + 4
        offsets = struct.unpack_from(f"<{length}I", self._data, first)
        found = []
        for at, offset in zip(range(first, first + 4 * length, 4), offsets, strict=True):
            found.append(read(self._checked(at + offset, at, place), argument))
        return tuple(found)

    def _string(self, start: int, place: str) -> str:
        length = _U32(self._data, start)[0]
        end = start + 4 + length
        if end + 1 > self._size or self._data[end]:
            raise self._error(f"a string of {length} bytes has no end", start, place)
        self._visit(4 + length, start, place)
        try:
            return self._data[start + 4 : end].decode()
        except UnicodeDecodeError as error:
            raise self._error(f"a string is not UTF-8 ({error.reason})", start, place) from error


def _single(index: int, values: tuple[Any, ...]) -> tuple[Any, ...]:
    return (values[index],)
