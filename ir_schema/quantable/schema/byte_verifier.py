"""Verify the bytes of a FlatBuffer before any field of it is read.

FlatBuffers for Python has no verifier: its reader follows whatever offsets it finds. This one is
driven by the layout that `generate` derives from the .fbs files, so it knows exactly the fields
that the generated code will follow. It checks, as the verifiers of other languages do, that every
table, vtable, vector, string and scalar lies inside the buffer and is aligned, that vtables have an
even size and fields lie inside their table, that strings are UTF-8 and end with a zero byte, that
required fields are there, and that unions have a known type. Fields that a newer schema appended
are not followed by the generated code and not looked at.

Offsets may share targets; so that a small file cannot make the reader visit one target very often,
the bytes visited are limited to a multiple of the size of the file.
"""

from __future__ import annotations

import struct

from quantable.ir.errors import FormatError
from quantable.schema.generated.layout import LAYOUT

MAX_DEPTH = 16
VISITS_PER_BYTE = 8
_U16 = struct.Struct("<H").unpack_from
_U32 = struct.Struct("<I").unpack_from
_I32 = struct.Struct("<i").unpack_from
_VTABLE_HEADER = 4


class ByteVerifier:
    """Verifies one size-prefixed buffer. Positions count from its first byte.

    Args:
        data: Size prefix and FlatBuffer.
        where: The file, for messages.
    """

    def __init__(self, data: bytes, where: str) -> None:
        self._data = data
        self._size = len(data)
        self._where = where
        self._budget = VISITS_PER_BYTE * self._size
        self._checked_vtables: dict[tuple[int, str], dict[str, int]] = {}
        self._root = self._target(4, "root")

    def root_scalars(self, table: str, names: tuple[str, ...]) -> list[int]:
        """Return 16-bit fields of the root, 0 where absent, verifying only what that takes."""
        fields = self._fields(self._root, table)
        return [_U16(self._data, self._root + fields[n])[0] if n in fields else 0 for n in names]

    def verify(self, table: str) -> int:
        """Verify everything that can be reached from the root, and return the root's position.

        Raises:
            FormatError: Says what is wrong, at which byte and in which field.
        """
        self._table(self._root, table, 0)
        return self._root

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
        if target + 4 > self._size:
            raise self._error("an offset leaves the file", position, place)
        if target % 4:
            raise self._error("an offset is not aligned", position, place)
        return target

    def _fields(self, position: int, table: str) -> dict[str, int]:
        """Return the offset in the table of every known field that is present."""
        vtable = position - _I32(self._data, position)[0]
        if vtable < 0 or vtable % 2 or vtable + _VTABLE_HEADER > self._size:
            raise self._error("a vtable is outside the file or not aligned", position, table)
        table_size = _U16(self._data, vtable + 2)[0]
        if table_size < 4 or position + table_size > self._size:
            raise self._error(f"a table has {table_size} bytes", position, table)
        self._visit(table_size, position, table)
        key = (vtable, table)
        if key not in self._checked_vtables:
            self._checked_vtables[key] = self._vtable(vtable, table_size, table)
        return self._checked_vtables[key]

    def _vtable(self, vtable: int, table_size: int, table: str) -> dict[str, int]:
        size = _U16(self._data, vtable)[0]
        if size < _VTABLE_HEADER or size % 2 or vtable + size > self._size:
            raise self._error(f"a vtable has {size} bytes", vtable, table)
        found: dict[str, int] = {}
        for slot, name, kind, width, _, required in LAYOUT["tables"][table]:
            place = f"{table}.{name}"
            offset = self._slot(vtable, size, slot)
            if offset:
                self._inside(vtable, offset, width if kind == "scalar" else 4, table_size, place)
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
        return found

    def _slot(self, vtable: int, size: int, slot: int) -> int:
        entry = _VTABLE_HEADER + 2 * slot
        offset: int = _U16(self._data, vtable + entry)[0] if entry < size else 0
        return offset

    def _inside(self, vtable: int, offset: int, width: int, table_size: int, place: str) -> None:
        if offset < 4 or offset + width > table_size:
            raise self._error("a field is outside its table", vtable, place)

    def _table(self, position: int, table: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise self._error("tables are nested too deeply", position, table)
        fields = self._fields(position, table)
        for _, name, kind, width, child, _ in LAYOUT["tables"][table]:
            offset = fields.get(name)
            if offset is None:
                continue
            at, place = position + offset, f"{table}.{name}"
            if at % (width if kind == "scalar" else 4):
                raise self._error("a field is not aligned", at, place)
            if kind == "scalar":
                continue
            target = self._target(at, place)
            if kind == "union":
                number = self._data[position + fields[name + "_type"]]
                members = LAYOUT["unions"][child]
                if not 0 < number <= len(members):
                    raise self._error(f"a union has the unknown type {number}", at, place)
                self._table(target, members[number - 1], depth + 1)
            elif kind == "table":
                self._table(target, child, depth + 1)
            else:
                self._sequence(target, kind, width, child, place, depth)

    def _sequence(
        self, start: int, kind: str, width: int, child: str, place: str, depth: int
    ) -> None:
        """Verify a vector or a string that starts with its length."""
        if kind == "string":
            self._string(start, place)
            return
        length = _U32(self._data, start)[0]
        first = start + 4
        if first + length * width > self._size:
            raise self._error(f"a vector of {length} elements leaves the file", start, place)
        if length and first % width:
            raise self._error("a vector is not aligned", start, place)
        self._visit(4 + length * width, start, place)
        if kind == "scalars":
            return
        for at in range(first, first + length * width, width):
            target = self._target(at, place)
            if kind == "strings":
                self._string(target, place)
            else:
                self._table(target, child, depth + 1)

    def _string(self, start: int, place: str) -> None:
        length = _U32(self._data, start)[0]
        end = start + 4 + length
        if end + 1 > self._size or self._data[end]:
            raise self._error(f"a string of {length} bytes has no end", start, place)
        self._visit(4 + length, start, place)
        try:
            self._data[start + 4 : end].decode()
        except UnicodeDecodeError as error:
            raise self._error(f"a string is not UTF-8 ({error.reason})", start, place) from error
