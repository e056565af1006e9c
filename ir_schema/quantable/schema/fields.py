"""What a field of a layout means: its width in bytes and its default."""

from __future__ import annotations

import struct
from typing import Any

VTABLE_HEADER = 4
"""Bytes of a vtable before its first slot: its own size and that of the table, u16 each."""
OFFSET_BYTES = 4


def width_of(field: tuple[Any, ...]) -> int:
    """Return the bytes of a scalar, of an element, or of an offset."""
    code = field[3]
    return struct.calcsize("<" + code) if code else OFFSET_BYTES


def default_of(field: tuple[Any, ...]) -> Any:
    """Return what an absent field holds."""
    kind, code, default = field[2], field[3], field[6]
    if kind == "scalar":
        return float(default) if isinstance(default, str) else default
    if kind == "scalars":
        return b"" if code == "B" else ()
    return () if kind in ("strings", "tables") else None
