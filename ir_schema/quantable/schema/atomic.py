"""Files that are written whole or not at all, and what an interrupted writer leaves behind.

A writer fills a temporary file, which it holds a lock on, and renames it. So a process that is
killed at any moment leaves the old file or the new one. The lock goes with the process: whoever
gets the lock of a temporary file knows that its writer is gone, and removes it.

What a power failure leaves is another matter: only a file written with `durable` is on the disk
before its name. Segments are not, since large ones take long to sync: their digest tells whether
they are sound, and every writer looks at it before it relies on a segment that it has not written
itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from quantable.ir.errors import UserError
from quantable.schema.segments import Segment

LEFTOVER_PREFIX = ".quantable-"
LEFTOVER_SUFFIX = ".tmp"

_sound: dict[str, tuple[int, ...]] = {}
"""Segments that this process wrote or whose digest it checked: path to identity."""


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool) -> Iterator[IO[bytes]]:
    """Open a temporary file that takes the place of `path` once it is complete.

    Args:
        path: The file.
        durable: Whether the bytes and the name are on the disk when this returns.

    Raises:
        UserError: The file cannot be written.
    """
    if path.exists() and not path.is_file():
        raise UserError("cannot write: expected a file, found something else", where=str(path))
    if not path.parent.exists():
        raise UserError(
            "cannot write: there is no such folder", where=str(path), help="make the folder first"
        )
    with refused(path):
        file, scratch = _scratch(path.parent)
        with file:
            try:
                yield file
                file.flush()
                if durable:
                    os.fsync(file.fileno())
                os.replace(scratch, path)
            except BaseException:
                scratch.unlink(missing_ok=True)
                raise
        if durable:
            _sync_folder(path.parent)


def _scratch(folder: Path) -> tuple[IO[bytes], Path]:
    """Return a new, locked temporary file in a folder."""
    while True:
        path = folder / f"{LEFTOVER_PREFIX}{secrets.token_hex(8)}{LEFTOVER_SUFFIX}"
        file = open(path, "xb")  # noqa: SIM115 # the caller closes it
        fcntl.flock(file, fcntl.LOCK_EX)
        # Between the two calls another process may have taken it for a leftover.
        if path.exists():
            return file, path
        file.close()


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of writers that are gone."""
    try:
        names = [name for name in os.listdir(folder) if name.startswith(LEFTOVER_PREFIX)]
    except OSError:
        return  # what is wrong with the folder is said when the file is written
    for name in names:
        if name.endswith(LEFTOVER_SUFFIX):
            # It may be another user's, or be renamed by its writer at this moment.
            with contextlib.suppress(OSError), open(folder / name, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(folder / name)


def is_sound(path: Path, segment: Segment) -> bool:
    """Return whether a segment is there with the right bytes.

    Its digest is computed once a process, unless the file changes.

    Raises:
        OSError: The file is there and cannot be read.
    """
    if not path.is_file() or path.stat().st_size != segment.size:
        return False
    if _sound.get(str(path)) == _identity(path):
        return True
    with open(path, "rb") as file:
        good = hashlib.file_digest(file, "sha256").hexdigest() == segment.digest
    if good:
        remember(path)
    return good


def remember(path: Path) -> None:
    """Take note that a segment is sound."""
    _sound[str(path)] = _identity(path)


def _identity(path: Path) -> tuple[int, ...]:
    held = path.stat()
    return held.st_dev, held.st_ino, held.st_size, held.st_mtime_ns


@contextlib.contextmanager
def refused(path: Path) -> Iterator[None]:
    """Turn the refusal of the operating system into an error of the user."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write: {error.strerror}", where=str(path)) from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
