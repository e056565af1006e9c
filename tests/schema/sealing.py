"""Mutants that get past the checksum of the head, so that what lies behind it is tested too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from quantable.ir import FormatError
from quantable.schema import seal
from quantable.schema.decode import Decoder

_KEPT = 8
"""One mutant in so many keeps the checksum that it has."""


def resealed(data: bytes) -> bytes:
    """Return a file with the checksum that its head should have, where it has a place for one."""
    end = 4 + int.from_bytes(data[:4], "little")
    root = {b"QIR": "Graph", b"QPR": "Profile"}.get(data[8:11])
    if root is None or not 12 <= end <= len(data):
        return data
    try:
        place = Decoder(data[:end], "").root_place(root, seal.FIELD)
    except FormatError:
        return data
    return data if place is None else seal.sealed(data[:end], place) + data[end:]


def most_resealed(mutants: Iterable[bytes]) -> Iterator[bytes]:
    """Yield mutants, seven of eight resealed."""
    for number, mutant in enumerate(mutants):
        yield resealed(mutant) if number % _KEPT else mutant
