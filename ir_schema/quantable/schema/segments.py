"""Segments: runs of bytes outside the FlatBuffer, named by the sha256 of their contents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from quantable.schema.tables import T

ALIGNMENT = 64
FOLDER = "segments"
"""The folder of external segments, beside the file that refers to them."""
DIGEST_BYTES = 32


def aligned(position: int) -> int:
    """Return the first multiple of the alignment at or after a position."""
    return -(-position // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True, slots=True)
class Segment:
    """Where the bytes of one digest lie.

    Attributes:
        digest: sha256, hexadecimal.
        size: In bytes.
        offset: From the segment base of the file; None where the segment is a file of its own.
    """

    digest: str
    size: int
    offset: int | None


@dataclass(frozen=True)
class SegmentTable:
    """The segments of a file that is being written, by digest.

    Attributes:
        segments: In ascending order of digest.
        read: Returns the bytes of a digest, without a copy.
    """

    segments: tuple[Segment, ...]
    read: Callable[[str], memoryview]

    @staticmethod
    def plan(
        sizes: Mapping[str, int], read: Callable[[str], memoryview], inline_limit: int | None
    ) -> SegmentTable:
        """Lay out segments; those larger than `inline_limit` bytes become files of their own."""
        placed, offset = [], 0
        for digest, size in sorted(sizes.items()):
            if inline_limit is not None and size > inline_limit:
                placed.append(Segment(digest, size, None))
            else:
                placed.append(Segment(digest, size, offset))
                offset = aligned(offset + size)
        return SegmentTable(tuple(placed), read)

    def index(self) -> dict[str, int]:
        """Return the number of each digest."""
        return {segment.digest: number for number, segment in enumerate(self.segments)}

    def tables(self) -> tuple[Any, ...]:
        """Return the tables of the schema."""
        return tuple(
            T.Segment(bytes.fromhex(s.digest), s.size, s.offset or 0, s.offset is None)
            for s in self.segments
        )
