"""What reading a file of either kind begins with: versions, bytes, segments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quantable.ir.errors import FormatError
from quantable.schema.byte_verifier import ByteVerifier
from quantable.schema.container import Container
from quantable.schema.segments import DIGEST_BYTES, FOLDER, Segment, aligned
from quantable.schema.versions import check_version

KINDS = {"QIR1": ".qir file", "QPR1": ".qprof file"}


def verified_root(container: Container, table: str) -> int:
    """Check the versions, then every byte that can be reached, and return the root's position.

    Raises:
        FormatError: The file is corrupt, or of a version that this reader does not read.
    """
    verifier = ByteVerifier(container.head, container.where)
    names = ("version_major", "version_minor", "min_reader_minor")
    major, minor, min_reader_minor = verifier.root_scalars(table, names)
    check_version(major, minor, min_reader_minor, container.where)
    return verifier.verify(table)


def read_segments(container: Container, tables: Sequence[Any]) -> list[Segment]:
    """Return the segments, checked against the size of the file and against each other.

    Raises:
        FormatError: A segment is outside the file, overlaps another or is missing.
    """

    def error(message: str) -> FormatError:
        return FormatError(message, where=container.where)

    found: list[Segment] = []
    end = 0
    for t in tables:
        if len(t.sha256) != DIGEST_BYTES:
            raise error(f"corrupt file: a digest has {len(t.sha256)} bytes")
        segment = Segment(t.sha256.tobytes().hex(), t.size, None if t.external else t.offset)
        if found and segment.digest <= found[-1].digest:
            raise error(f"corrupt file: segment {segment.digest} is out of order")
        if segment.offset is None:
            _check_external(container, segment)
        elif segment.offset != end:
            raise error(
                f"corrupt file: segment {segment.digest}: expected offset {end}, "
                f"found {segment.offset}"
            )
        else:
            end = aligned(end + segment.size)
        found.append(segment)
    expected = container.segment_base + end
    if len(container.mapped) != expected:
        state = "truncated" if len(container.mapped) < expected else "corrupt"
        raise error(f"{state} file: expected {expected} bytes, found {len(container.mapped)}")
    return found


def _check_external(container: Container, segment: Segment) -> None:
    path = container.path.parent / FOLDER / segment.digest
    if not path.is_file():
        raise FormatError(
            f"segment {segment.digest} is missing: expected the file {path}",
            where=container.where,
            help=f"keep the folder '{FOLDER}' beside the file, or save it with inline_limit=None",
        )
    size = path.stat().st_size
    if size != segment.size:
        raise FormatError(
            f"corrupt segment {segment.digest}: expected {segment.size} bytes, found {size}",
            where=container.where,
            help=f"delete {path} and write the file again from its source",
        )
