"""What reading a file of either kind begins with: versions, bytes, segments."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from quantable.ir.errors import FormatError
from quantable.schema import seal, versions
from quantable.schema.container import Container
from quantable.schema.decode import Decoder
from quantable.schema.segments import DIGEST_BYTES, FOLDER, Segment, aligned
from quantable.schema.versions import FormatUpgradeWarning, check_version

KINDS = {"QIR": ".qir file", "QPR": ".qprof file"}
"""What the identifiers stand for, without the digit of the major version."""


def read_tables(container: Container, root: str) -> Any:
    """Check the versions, read every table that can be reached, and upgrade an older file's.

    Args:
        container: The file.
        root: The root table.

    Returns:
        The root, in this version's tables.

    Raises:
        FormatError: The file is corrupt, or of a version that this reader does not read.
    """
    names = ("version_major", "version_minor", "min_reader_minor")
    decoder = Decoder(container.head, container.where)
    major, minor, min_reader_minor = decoder.root_scalars(root, names)
    check_version(container.identifier_major, (major, minor, min_reader_minor), container.where)
    if major == versions.VERSION_MAJOR:
        place = decoder.root_place(root, seal.FIELD)
        seal.check_seal(container.head, place, (major, minor), container.where)
        return decoder.decode(root)
    layout = dict(versions.UPGRADES[major].layout)
    table = Decoder(container.head, container.where, layout).decode(root)
    warnings.warn(
        f"{container.where}: upgraded from version {major}.{minor} to "
        f"{versions.spelled(versions.current())}; save it to keep the upgrade",
        FormatUpgradeWarning,
        stacklevel=3,
    )
    return versions.upgraded(table, root, major)


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
        segment = Segment(t.sha256.hex(), t.size, None if t.external else t.offset)
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
