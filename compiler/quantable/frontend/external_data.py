"""Find and map the files in which a model keeps its tensors.

The rules are those of ONNX (docs/ExternalData.md), read strictly: a location is a relative path
that names a regular file inside the model's own folder, and no symbolic link leads to it.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from quantable.ir import ModelError

_CHUNK = 1 << 24


def map_file(path: Path) -> memoryview:
    """Return the bytes of a file, mapped and read-only; an empty file gives an empty view."""
    if path.stat().st_size == 0:
        return memoryview(b"")
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def sha256_of(data: memoryview) -> str:
    """Return the digest of bytes, read in pieces."""
    digest = hashlib.sha256()
    for start in range(0, len(data), _CHUNK):
        digest.update(data[start : start + _CHUNK])
    return digest.hexdigest()


class ExternalData:
    """The external files of one model, each mapped once."""

    def __init__(self, model: Path) -> None:
        self._model = model
        self._files: dict[str, memoryview] = {}

    def read(self, tensor: str, entries: Mapping[str, str], size: int) -> memoryview:
        """Return the bytes of a tensor.

        Args:
            tensor: Its name, for messages.
            entries: What the model says: location, offset, length.
            size: Number of bytes that its type and shape need.

        Raises:
            ModelError: The file is missing, too short, outside the model's folder, or the length
                contradicts the shape.
        """
        where = f"{self._model}: initializer '{tensor}'"
        location = entries.get("location", "")
        if location not in self._files:
            self._files[location] = map_file(self._resolve(location, where))
        held = self._files[location]
        offset = _integer(entries, "offset", 0, where)
        length = _integer(entries, "length", size, where)
        if length != size:
            raise ModelError(
                f"external data: expected {size} bytes for its type and shape, found length"
                f" {length}",
                where=where, help="export the model again",
            )  # fmt: skip
        if offset + length > len(held):
            raise ModelError(
                f"external data: expected bytes up to {offset + length} in '{location}', found"
                f" {len(held)}",
                where=where, help="the data file was cut off; copy it again",
            )  # fmt: skip
        return held[offset : offset + length]

    def digests(self) -> tuple[str, ...]:
        """Return the sha256 of every file, in the order of first use."""
        return tuple(sha256_of(data) for data in self._files.values())

    def _resolve(self, location: str, where: str) -> Path:
        parts = PurePosixPath(location).parts
        folder = self._model.parent
        inside = f"external data stays inside the model's folder; found location '{location}'"
        is_foreign = "\\" in location or ":" in location or "\0" in location
        if not parts or location.startswith("/") or ".." in parts or is_foreign:
            raise ModelError(inside, where=where, help="use a path relative to the model")
        path = folder.joinpath(*parts)
        steps = [folder.joinpath(*parts[:n]) for n in range(1, len(parts) + 1)]
        if any(step.is_symlink() for step in steps):
            raise ModelError(
                f"external data '{location}' is reached through a symbolic link",
                where=where, help="put the file itself into the model's folder",
            )  # fmt: skip
        if not path.is_file():
            raise ModelError(
                f"external data file '{location}' is missing",
                where=where, help="copy it next to the model; both belong together",
            )  # fmt: skip
        return path


def _integer(entries: Mapping[str, str], key: str, default: int, where: str) -> int:
    text = entries.get(key, str(default))
    if not text.isdecimal():
        raise ModelError(f"external data: expected a number as {key}, found '{text}'", where=where)
    return int(text)
