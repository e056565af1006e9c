"""Emitted files, replaced one by one and whole, with a manifest that names their digests.

A backend writes into a scratch folder; then each file takes its place by one rename, the manifest
last. Killed at any moment, every file is the old one or the new one, and `validate` sees from the
manifest whether they belong together.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from quantable.backends.registry import backend
from quantable.ir import FormatError, Graph, Level, OptionError, graph_digest
from quantable.targets.description import Target

MANIFEST = "manifest.json"
_LEVELS = {"c": Level.PLANNED, "onnx": Level.QUANTABLE}
_FOLDER = "give a folder, or the name of one to make"
_BEFORE = {"c": "quantable lower, then quantable opt --passes plan", "onnx": "quantable quantize"}


def emit_files(graph: Graph, directory: Path, target: Target) -> Mapping[str, Any]:
    """Emit a graph for its target and return the manifest.

    Raises:
        OptionError: The graph is not at the level that the target's backend takes.
    """
    level = _LEVELS[target.backend]
    if graph.level is not level:
        raise OptionError(
            f"target '{target.name}' emits level {level.value}, found {graph.level.value}",
            help=f"do before: {_BEFORE[target.backend]}",
        )
    prepare_folder(directory)
    with _refused(directory), tempfile.TemporaryDirectory(dir=directory, prefix=".emit-") as name:
        scratch = Path(name)
        facts = _emit(graph, scratch, target)
        return _install({**facts, "graph_digest": graph_digest(graph)}, scratch, directory)


def install_files(
    fetch: Callable[[Path], Mapping[str, Any] | None], directory: Path
) -> Mapping[str, Any] | None:
    """Install files that were emitted before, as `emit_files` installs new ones.

    Args:
        fetch: Writes the files to a folder and returns their manifest; None where it has none.
        directory: Where the files go.
    """
    prepare_folder(directory)
    with _refused(directory), tempfile.TemporaryDirectory(dir=directory, prefix=".emit-") as name:
        manifest = fetch(Path(name))
        if manifest is None:
            return None
        return _install(manifest, Path(name), directory)


def require_folder(directory: Path) -> None:
    """Refuse early what cannot become a folder with files; nothing is made.

    Raises:
        OptionError: Something else lies there, or the nearest folder cannot be written to.
    """
    nearest = next(place for place in (directory, *directory.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise OptionError("is not a folder", where=str(nearest), help=_FOLDER)
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise OptionError(
            "cannot be written to: Permission denied", where=str(nearest), help=_FOLDER
        )


def prepare_folder(directory: Path) -> None:
    """Make a folder that files can be written to.

    Raises:
        OptionError: That is not possible.
    """
    with _refused(directory):
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass


@contextlib.contextmanager
def _refused(place: Path) -> Iterator[None]:
    """A full disk and missing rights are not our fault."""
    try:
        yield
    except OSError as error:
        raise OptionError(
            f"cannot be written to: {error.strerror}", where=str(place), help=_FOLDER
        ) from error


def _emit(graph: Graph, scratch: Path, target: Target) -> Mapping[str, Any]:
    if target.backend != "c":
        return backend(target.backend).emit(graph, scratch)
    from quantable.backends.c import emit as emit_c
    from quantable.driver.golden import golden_vectors

    return emit_c(graph, scratch, golden=golden_vectors(graph), kernels=target.kernels)


def _install(facts: Mapping[str, Any], scratch: Path, directory: Path) -> Mapping[str, Any]:
    paths = sorted(path.relative_to(scratch) for path in scratch.rglob("*") if path.is_file())
    names = [path for path in paths if path.as_posix() != MANIFEST]
    files = {name.as_posix(): _described(scratch / name) for name in names}
    manifest = {**facts, "files": files}
    before = _files_of(directory)
    write_json(manifest, scratch / MANIFEST)
    for path in (*names, Path(MANIFEST)):
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (scratch / path).replace(directory / path)
    for stale in before - set(manifest["files"]):
        (directory / stale).unlink(missing_ok=True)
    return manifest


def _files_of(directory: Path) -> set[str]:
    try:
        return set(read_manifest(directory)["files"])
    except FormatError:
        return set()


def _described(path: Path) -> dict[str, object]:
    return {"sha256": _digest(path), "bytes": path.stat().st_size}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(directory: Path) -> Mapping[str, Any]:
    """Return the manifest of emitted files.

    Raises:
        FormatError: The folder holds none, or a damaged one.
    """
    path = directory / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FormatError(
            "the folder holds no emitted code", where=str(path),
            help="write it with: quantable compile, or quantable emit",
        ) from error  # fmt: skip
    except ValueError as error:
        raise FormatError(f"is not JSON: {error}", where=str(path)) from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise FormatError("is not a manifest: expected a table 'files'", where=str(path))
    return manifest


def changed_files(directory: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Return the names of files that are missing or not the ones that the manifest names."""
    return [
        name
        for name, facts in sorted(manifest["files"].items())
        if not (directory / name).is_file() or _digest(directory / name) != facts["sha256"]
    ]


def write_json(value: object, path: Path) -> None:
    """Write JSON, indented, keys in the given order, atomically."""
    write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", path)


def write_text(text: str, path: Path) -> None:
    """Write a text file so that a reader sees the old one or the new one.

    Raises:
        OptionError: It cannot be written.
    """
    with replaced(path) as scratch, scratch.open("x", encoding="utf-8", newline="\n") as file:
        file.write(text)


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield the name of a file to make, which then takes the place of `path`.

    Its rights are those of any new file, where those of `tempfile` are the owner's alone.

    Raises:
        OptionError: The file cannot be written.
    """
    scratch = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    with _refused(path):
        try:
            yield scratch
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)
