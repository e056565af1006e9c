"""The checksum of a file's head: a damaged one must not read as another valid graph.

The FlatBuffer verifier finds what is malformed; a flipped bit of a scale is not. Contents outside
the head have digests of their own.
"""

from __future__ import annotations

import hashlib

from quantable.ir.errors import FormatError

FIELD = "head_checksum"
WIDTH = 8
SINCE = (1, 1)
"""Files of older versions have none."""


def checksum(head: bytes, place: int) -> bytes:
    """Return the checksum of a head: the first bytes of its sha256, its own place taken as zero.

    Args:
        head: Size prefix and FlatBuffer.
        place: Where in it the checksum lies.
    """
    h = hashlib.sha256(head[:place])
    h.update(bytes(WIDTH))
    h.update(memoryview(head)[place + WIDTH :])
    return h.digest()[:WIDTH]


def sealed(head: bytes, place: int) -> bytes:
    """Return the head with its checksum."""
    return b"".join((head[:place], checksum(head, place), head[place + WIDTH :]))


def check_seal(head: bytes, place: int | None, version: tuple[int, int], where: str) -> None:
    """Refuse a head that is not the one that was written.

    Args:
        head: Size prefix and FlatBuffer.
        place: Where the checksum lies; None where there is none.
        version: Of the file.
        where: The file, for messages.

    Raises:
        FormatError: The checksum is another one, or missing in a file that must have it.
    """
    if place is None and version < SINCE:
        return
    found = "none" if place is None else head[place : place + WIDTH].hex()
    if place is None or head[place : place + WIDTH] != checksum(head, place):
        expected = "a checksum" if place is None else f"checksum {checksum(head, place).hex()}"
        raise FormatError(
            f"corrupt file: the head: expected {expected}, found {found}",
            where=where,
            help="the file was damaged: copy it again, or run the stage that made it again",
        )
