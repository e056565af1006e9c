"""The container around a FlatBuffer: aligned segments, read by mmap, written atomically."""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from quantable.ir.errors import FormatError, InternalError
from quantable.schema import seal
from quantable.schema.atomic import is_sound, refused, remember, remove_leftovers, replacing
from quantable.schema.decode import Decoder
from quantable.schema.encode import Encoder
from quantable.schema.segments import ALIGNMENT, FOLDER, Segment, SegmentTable, aligned
from quantable.schema.versions import VERSION_MAJOR

PREFIX_BYTES = 4
SMALLEST_FILE = PREFIX_BYTES + 4 + 4
_ZEROS = bytes(ALIGNMENT)
_CHUNK_BYTES = 1 << 24
_MAPPED_FROM = 1 << 24
"""Smaller files are read at once: a mapping keeps a file descriptor, and a network has thousands of
parameters."""


def write_file(path: Path, table: Any, prefix: str, segments: SegmentTable) -> None:
    """Write a file and the external segments that are not there yet.

    The segments are complete before the file that refers to them; a reader sees the old file or the
    new one.

    Args:
        path: The file.
        table: The root table, with its versions.
        prefix: The file identifier without the digit of the major version.
        segments: What the table refers to.

    Raises:
        UserError: The file cannot be written.
        InternalError: The table holds what a file cannot.
    """
    head = _head(table, prefix)
    remove_leftovers(path.parent)
    folder = path.parent / FOLDER
    if any(segment.offset is None for segment in segments.segments):
        remove_leftovers(folder)
    for segment in segments.segments:
        if segment.offset is None:
            write_segment(folder, segment, segments.read)
    with replacing(path, durable=True) as file:
        _write_padded(file, memoryview(head))
        for segment in segments.segments:
            if segment.offset is not None:
                _write_padded(file, segments.read(segment.digest))


def _head(table: Any, prefix: str) -> bytes:
    """Return size prefix and FlatBuffer, with their checksum where the version has one."""
    has_seal = (table.version_major, table.version_minor) >= seal.SINCE
    if has_seal:
        table = table._replace(**{seal.FIELD: 1})  # any number but the default: it takes its place
    try:
        head = Encoder().encode(table, f"{prefix}{table.version_major}")
    except (struct.error, OverflowError) as error:
        raise InternalError(f"the tables hold what a file cannot: {error}") from error
    if not has_seal:
        return head
    place = Decoder(head, "").root_place(type(table).__name__, seal.FIELD)
    assert place is not None
    return seal.sealed(head, place)


def _write_padded(file: IO[bytes], data: memoryview) -> None:
    file.write(data)
    file.write(_ZEROS[: aligned(data.nbytes) - data.nbytes])


def write_segment(folder: Path, segment: Segment, read: Callable[[str], memoryview]) -> None:
    """Write an external segment, unless it is there already; then it is not even asked for."""
    path = folder / segment.digest
    with refused(folder):
        if is_sound(path, segment):
            return
    data = read(segment.digest)  # first: where it is corrupt, no folder is left behind
    with refused(folder):
        folder.mkdir(exist_ok=True)
    with replacing(path, durable=False) as file:
        for start in range(0, segment.size, _CHUNK_BYTES):
            file.write(data[start : start + _CHUNK_BYTES])
    remember(path)


@dataclass(frozen=True)
class Container:
    """A file that was opened: its FlatBuffer, and the mapped whole.

    Attributes:
        path: The file.
        where: The file, for messages.
        identifier_major: The major version that the identifier says.
        head: Size prefix and FlatBuffer.
        mapped: The whole file.
    """

    path: Path
    where: str
    identifier_major: int
    head: bytes
    mapped: memoryview

    @property
    def segment_base(self) -> int:
        """Where the first inline segment lies."""
        return aligned(len(self.head))

    def loader(self, segment: Segment) -> Callable[[], memoryview]:
        """Return a function that returns the bytes of a segment once their digest was checked."""

        def load() -> memoryview:
            if segment.offset is None:
                where = str(self.path.parent / FOLDER / segment.digest)
                data = map_file(Path(where), "segment")
            else:
                where = self.where
                start = self.segment_base + segment.offset
                data = self.mapped[start : start + segment.size]
            if data.nbytes != segment.size or hashlib.sha256(data).hexdigest() != segment.digest:
                raise FormatError(
                    f"corrupt segment: expected {segment.size} bytes with digest {segment.digest}, "
                    f"found {data.nbytes} other bytes",
                    where=where,
                    help="write the file again from its source, or fetch it again",
                )
            return data

        return load


def map_file(path: Path, what: str) -> memoryview:
    """Return a read-only view of a file.

    Raises:
        FormatError: The file is missing or cannot be read.
    """
    try:
        if path.exists() and not path.is_file():
            raise FormatError(f"cannot read the {what}: it is not a regular file", where=str(path))
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size < _MAPPED_FROM:
                return memoryview(file.read())
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise FormatError(f"cannot read the {what}: {reason}", where=str(path)) from error


def open_file(path: Path, prefix: str, kinds: dict[str, str]) -> Container:
    """Map a file and check its identifier and the size prefix.

    Args:
        path: The file.
        prefix: The expected file identifier without the digit of the major version.
        kinds: What each known prefix stands for, for the message.

    Raises:
        FormatError: The file is missing, foreign or truncated.
    """
    where, kind = str(path), kinds[prefix]
    mapped = map_file(path, "file")
    if len(mapped) < SMALLEST_FILE:
        raise FormatError(
            f"not a {kind}: expected at least {SMALLEST_FILE} bytes, found {len(mapped)}",
            where=where,
        )
    found = bytes(mapped[8:12])
    if found[:3] != prefix.encode() or not found[3:].isdigit():
        known = kinds.get(found[:3].decode("latin-1"))
        text = f"a {known}" if known and known != kind else repr(found)
        raise FormatError(
            f"not a {kind}: expected identifier {prefix}{VERSION_MAJOR}, found {text}",
            where=where,
            help="was another kind of file given?",
        )
    end = PREFIX_BYTES + int.from_bytes(mapped[:4], "little")
    if not SMALLEST_FILE <= end <= len(mapped):
        state = "truncated" if end > len(mapped) else "corrupt"
        raise FormatError(
            f"{state} {kind}: expected at least {end} bytes, found {len(mapped)}", where=where
        )
    return Container(path, where, int(found[3:]), bytes(mapped[:end]), mapped)
