"""Versions of the file formats, and the upgrades that read the files of older ones.

An additive change bumps the minor version: older files are read as they are, since every field that
was added has a default. A file that uses what was added says in `min_reader_minor` which minor
version its reader needs; what it does not use costs nothing. Anything else bumps the major version
and with it the digit of the file identifier, and comes with an upgrade, which is kept for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from quantable.ir.errors import FormatError, OptionError

VERSION_MAJOR = 1
VERSION_MINOR = 4
PRODUCER = "quantable 0.1.0"

Version = tuple[int, int]
"""(major, minor)."""


class FormatUpgradeWarning(UserWarning):
    """A file of an older major version was read; saving it writes this version."""


@dataclass(frozen=True)
class Upgrade:
    """The way from one major version to the next.

    Attributes:
        layout: The layout of the last minor version of the older one.
        functions: By root table: from the tables of the older version to those of the next.
    """

    layout: Mapping[str, Any]
    functions: Mapping[str, Callable[[Any], Any]]


UPGRADES: dict[int, Upgrade] = {}
"""By the major version that is read. Version 1 is the first released one, so there is none."""

WRITABLE: tuple[Version, ...] = ((1, 0), (1, 1), (1, 2), (1, 3), (1, 4))
"""Every version that can be written, oldest first; the last is this one."""


def spelled(version: Version) -> str:
    """Return a version as text: 1.0."""
    return f"{version[0]}.{version[1]}"


def parsed(text: str) -> Version:
    """Return the version that a text spells.

    Raises:
        OptionError: It is not MAJOR.MINOR.
    """
    major, _, minor = text.partition(".")
    if not (major.isdecimal() and minor.isdecimal()):
        raise OptionError(f"expected a version such as {spelled(current())}, found '{text}'")
    return int(major), int(minor)


def current() -> Version:
    """Return this version."""
    return VERSION_MAJOR, VERSION_MINOR


def check_version(identifier_major: int, version: tuple[int, int, int], where: str) -> None:
    """Refuse a file that is newer than this reader can read, or so old that nothing upgrades it.

    Args:
        identifier_major: The digit of the file identifier.
        version: version_major, version_minor and min_reader_minor.
        where: The file, for messages.

    Raises:
        FormatError: Says which version the file has and which ones this reader reads.
    """
    major, minor, min_reader_minor = version
    reads = spelled(current())
    if major > VERSION_MAJOR or any(step not in UPGRADES for step in range(major, VERSION_MAJOR)):
        age = "newer" if major > VERSION_MAJOR else "older"
        majors = sorted({VERSION_MAJOR, *UPGRADES})
        raise FormatError(
            f"unsupported format version: expected {' or '.join(f'{m}.x' for m in majors)}, "
            f"found {major}.{minor}",
            where=where,
            help=f"the file was written by {age} software; this reader reads {reads}",
        )
    if major != identifier_major:
        raise FormatError(
            f"corrupt file: identifier of version {identifier_major}, but version {major}.{minor}",
            where=where,
        )
    if major == VERSION_MAJOR and min_reader_minor > VERSION_MINOR:
        raise FormatError(
            f"the file needs a newer reader: expected version {major}.{min_reader_minor} "
            f"or later, found {reads}",
            where=where,
            help="update quantable, or write the file with an older version",
        )


def upgraded(table: Any, root: str, major: int) -> Any:
    """Return the tables of this version, from those of an older major one."""
    for step in range(major, VERSION_MAJOR):
        table = UPGRADES[step].functions[root](table)
    return table
