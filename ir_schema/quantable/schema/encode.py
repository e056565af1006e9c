"""Write tables as a FlatBuffer, back to front, the way every FlatBuffers builder does.

What is written is measured by its distance from the end: a target is written before the offset that
points to it, so every offset is known when it is written. Tables with the same fields present share
a vtable and one call of `struct`. A field that holds its default is left out, and so is an empty
vector, unless it is required. Each table holds its wide fields first, so that it has no holes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import ne
from typing import Any

from quantable.schema.fields import OFFSET_BYTES, VTABLE_HEADER, default_of, width_of
from quantable.schema.generated.layout import LAYOUT

_ALIGNMENT = 8
_ZEROS = bytes(_ALIGNMENT)
_Flags = tuple[bool, ...]


@dataclass(slots=True)
class _Plan:
    """How to write tables in which the same fields are present.

    Attributes:
        pack: Packs the distance to the vtable and every field, in the order of `picked`.
        size: Of the table, in bytes.
        residue, modulus: What the distance from the end of its first byte has to be.
        vtable: Its bytes.
        picked: For every field its index in the tuple (None: the type of the union that follows),
            its offset in the table, and what writes its target (None: it is a scalar).
        placed: The distance of the vtable once it was written, else 0.
    """

    pack: Callable[..., bytes]
    size: int
    residue: int
    modulus: int
    vtable: bytes
    picked: tuple[tuple[int | None, int, Callable[[Any], int] | None], ...]
    placed: int = 0


class Encoder:
    """Writes one buffer; call `encode` once.

    Args:
        layout: The layout of the schema; by default that of this version.
    """

    def __init__(self, layout: dict[str, Any] = LAYOUT) -> None:
        self._layout = layout
        self._chunks: list[bytes] = []
        self._size = 0
        self._plans: dict[tuple[str, _Flags], _Plan] = {}
        # A field that is required is always written: nothing is equal to this default.
        required: list[Any] = [object()]
        self._defaults = {
            name: tuple(required[0] if f[5] else default_of(f) for f in fields)
            for name, fields in layout["tables"].items()
        }

    def encode(self, root: Any, identifier: str) -> bytes:
        """Return size prefix and FlatBuffer.

        Args:
            root: The root table.
            identifier: The file identifier, four characters.
        """
        distance = self._table(root)
        self._pad(3 * OFFSET_BYTES, 0, _ALIGNMENT)
        total = self._size + 3 * OFFSET_BYTES
        head = struct.pack("<II4s", total - 4, total - distance - 4, identifier.encode())
        self._chunks.append(head)
        return b"".join(reversed(self._chunks))

    def _pad(self, count: int, residue: int, modulus: int) -> None:
        """Write zeros so that what comes next, of `count` bytes, begins where it has to."""
        zeros = (residue - self._size - count) % modulus
        if zeros:
            self._chunks.append(_ZEROS[:zeros])
            self._size += zeros

    def _put(self, data: bytes) -> int:
        self._chunks.append(data)
        self._size += len(data)
        return self._size

    def _table(self, table: Any) -> int:
        name = type(table).__name__
        flags = tuple(map(ne, table, self._defaults[name]))
        plan = self._plans.get((name, flags))
        if plan is None:
            plan = self._plans[name, flags] = self._plan(name, flags)
        values = []
        for index, offset, write in plan.picked:
            if index is None:
                values.append(0)
            elif write is None:
                values.append(table[index])
            else:
                values.append(write(table[index]) + offset)
        self._pad(plan.size, plan.residue, plan.modulus)
        distance = self._size + plan.size
        for number, (index, _, write) in enumerate(plan.picked):
            if write is not None:
                values[number] = distance - values[number]
            elif index is None:
                values[number] = self._union_type(name, table)
        vtable = plan.placed or distance + len(plan.vtable)
        self._put(plan.pack(vtable - distance, *values))
        if not plan.placed:
            plan.placed = self._put(plan.vtable)
        return distance

    def _union_type(self, name: str, table: Any) -> int:
        for index, field in enumerate(self._layout["tables"][name]):
            if field[2] == "union":
                members: list[str] = self._layout["unions"][field[4]]
                return members.index(type(table[index]).__name__) + 1
        raise KeyError(name)

    def _plan(self, name: str, flags: _Flags) -> _Plan:
        entries: list[tuple[int, int, int | None, str, Callable[[Any], int] | None]] = []
        for index, (field, present) in enumerate(zip(self._fields(name), flags, strict=True)):
            if not present:
                continue
            slot, _, kind, code, _, _, _ = field
            if kind == "scalar":
                entries.append((width_of(field), slot, index, code, None))
            else:
                entries.append((OFFSET_BYTES, slot, index, "I", self._writer(kind, code)))
            if kind == "union":
                entries.append((1, slot - 1, None, "B", None))
        entries.sort(key=lambda entry: (-entry[0], entry[1]))
        size, picked = 4, []
        slots = [0] * (1 + max((entry[1] for entry in entries), default=-1))
        for width, slot, held, _, write in entries:
            slots[slot] = size
            picked.append((held, size, write))
            size += width
        modulus = max([OFFSET_BYTES, *(entry[0] for entry in entries)])
        # The first field of 8 bytes lies 4 bytes after the beginning of the table.
        residue = OFFSET_BYTES if modulus == _ALIGNMENT else 0
        vtable = struct.pack(
            f"<{2 + len(slots)}H", VTABLE_HEADER + 2 * len(slots), size, *slots
        )  # fmt: skip
        pack = struct.Struct("<i" + "".join(entry[3] for entry in entries)).pack
        return _Plan(pack, size, residue, modulus, vtable, tuple(picked))

    def _fields(self, name: str) -> list[tuple[Any, ...]]:
        fields: list[tuple[Any, ...]] = self._layout["tables"][name]
        return fields

    def _writer(self, kind: str, code: str) -> Callable[[Any], int]:
        """Return what writes a target and returns its distance from the end."""
        if kind == "string":
            return self._string
        if kind == "scalars":
            return lambda values: self._scalars(values, code)
        if kind == "strings":
            return lambda texts: self._offsets([self._string(t) for t in reversed(texts)])
        if kind == "tables":
            return lambda tables: self._offsets([self._table(t) for t in reversed(tables)])
        return self._table

    def _string(self, text: str) -> int:
        data = text.encode()
        count = OFFSET_BYTES + len(data) + 1
        self._pad(count, 0, OFFSET_BYTES)
        return self._put(struct.pack(f"<I{len(data)}sx", len(data), data))

    def _scalars(self, values: Any, code: str) -> int:
        width = struct.calcsize("<" + code)
        count = OFFSET_BYTES + width * len(values)
        if width == _ALIGNMENT:
            self._pad(count, OFFSET_BYTES, _ALIGNMENT)
        else:
            self._pad(count, 0, OFFSET_BYTES)
        return self._put(struct.pack(f"<I{len(values)}{code}", len(values), *values))

    def _offsets(self, distances: Iterable[int]) -> int:
        """Write a vector of offsets, given the distances of its targets, the last first."""
        targets = list(distances)[::-1]
        count = OFFSET_BYTES * (1 + len(targets))
        self._pad(count, 0, OFFSET_BYTES)
        first = self._size + count - OFFSET_BYTES
        offsets = [first - OFFSET_BYTES * i - target for i, target in enumerate(targets)]
        return self._put(struct.pack(f"<{1 + len(targets)}I", len(targets), *offsets))
