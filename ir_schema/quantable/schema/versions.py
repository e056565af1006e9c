"""Versions of the file formats.

An additive change bumps the minor version. A file says which minor version its reader needs at
least. Anything else bumps the major version and the file identifier, and comes with an upgrade.
"""

from __future__ import annotations

from quantable.ir.errors import FormatError

VERSION_MAJOR = 1
VERSION_MINOR = 0
MIN_READER_MINOR = 0
PRODUCER = "quantable 0.1.0"


def check_version(major: int, minor: int, min_reader_minor: int, where: str) -> None:
    """Refuse a file of another major version, or one that needs a newer reader.

    Raises:
        FormatError: Says which version the file has and which this reader reads.
    """
    reads = f"{VERSION_MAJOR}.{VERSION_MINOR}"
    if major != VERSION_MAJOR:
        age = "newer" if major > VERSION_MAJOR else "older"
        raise FormatError(
            f"unsupported format version: expected {VERSION_MAJOR}.x, found {major}.{minor}",
            where=where,
            help=f"the file was written by {age} software; this reader reads {reads}",
        )
    if min_reader_minor > VERSION_MINOR:
        raise FormatError(
            f"the file needs a newer reader: expected version {major}.{min_reader_minor} "
            f"or later, found {reads}",
            where=where,
            help="update quantable, or write the file with an older version",
        )
