"""What a cached result depends on, component by component.

A key is the sha256 over the stage's name and the components; each is stored with the entry, so that
a miss can say which of them changed. Everything that can change a byte of a result is a component,
versions and the sources of this program included; what cannot is listed in `NOT_IN_KEY`.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path

import numpy as np

import quantable
from quantable.driver.data import IMAGE_SUFFIXES, Array, Samples, Source
from quantable.driver.preprocessing import Preprocessing
from quantable.ir import DataError, Graph, OperationLibrary, graph_digest
from quantable.passes.base import TOOL_VERSION, Pass, PassContext
from quantable.schema import versions

Components = Mapping[str, str]

OPTION_COMPONENT = {
    "model": "model", "target": "target", "calibration": "data", "profile": "data",
    "samples": "samples", "pipeline": "pipeline", "size": "preprocessing",
    "resize": "preprocessing", "crop": "preprocessing", "scale": "preprocessing",
    "mean": "preprocessing", "std": "preprocessing", "layout": "preprocessing",
    "channel_order": "preprocessing", "dispatch": "pipeline", "assign": "pipeline",
    "effort": "pipeline", "arena_budget": "pipeline", "input_shape": "model", "example": "model",
    "dynamic": "model", "opset": "model", "output_name": "model",
    "operations": "operations", "requantize": "pipeline",
}  # fmt: skip
"""The component that each option of `quantable compile` goes into."""

NOT_IN_KEY = (
    "output", "quiet", "as_json", "threads", "recipe", "cache", "cache_limit", "timing",
    "statistics", "remarks", "dump", "dump_filter", "dump_when", "checkpoint",
)  # fmt: skip
"""Options that change no byte of a result; a recipe counts through the options that it sets."""

_PACKAGES = (
    "backends", "driver", "frontend", "ir", "kernels", "passes", "reference", "schema", "targets",
    "text", "training",
)  # fmt: skip
_LIBRARIES = ("flatbuffers", "numpy", "onnx", "pillow", "torch")


def key_of(stage: str, components: Components) -> str:
    """Return the key: sha256 over the stage's name and all components."""
    text = json.dumps([stage, sorted(components.items())])
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _environment() -> tuple[tuple[str, str], ...]:
    found = (f"{name} {_version(name)}" for name in _LIBRARIES)
    return (
        ("tool", TOOL_VERSION),
        ("schema", f"{versions.VERSION_MAJOR}.{versions.VERSION_MINOR}"),
        ("sources", _sources_digest()),
        ("libraries", ", ".join(found)),
        ("machine", platform.machine()),
    )


def environment() -> dict[str, str]:
    """Return the components of every key: versions, sources, libraries, processor."""
    return dict(_environment())


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _sources_digest() -> str:
    """Return sha256 over every file of the packages that make results, by name.

    An entry of a program that was edited without a new version is thus never taken.
    """
    found: dict[str, Path] = {}
    for root in (Path(place) for place in quantable.__path__):
        for package in _PACKAGES:
            for path in (root / package).rglob("*"):
                if path.is_file() and "__pycache__" not in path.parts:
                    found.setdefault(path.relative_to(root).as_posix(), path)
    h = hashlib.sha256()
    for name, path in sorted(found.items()):
        data = path.read_bytes()
        h.update(f"{name}\0{len(data)}\0".encode() + data)
    return h.hexdigest()


def model_components(path: Path, library: OperationLibrary) -> dict[str, str]:
    """Return the components of stage `import`."""
    return {"model": file_digest(path), "operations": library.digest, **environment()}


def pass_components(
    graph: Graph, items: Sequence[Pass], context: PassContext, target_digest: str
) -> dict[str, str]:
    """Return the components of a stage that runs passes."""
    data = {
        item.name: digest
        for item in items
        if (digest := item.data_digest(context)) not in ("", target_digest)
    }
    return {
        **graph_components(graph),
        "pipeline": ",".join(f"{item.name}@{item.version}{item.options()}" for item in items),
        "target": target_digest,
        "data": ",".join(f"{name}={digest}" for name, digest in data.items()),
        **environment(),
    }


def graph_components(graph: Graph) -> dict[str, str]:
    """Return digests of a graph and, as files hold it too, of its history."""
    records = json.dumps([astuple(record) for record in graph.history])
    return {
        "graph": graph_digest(graph), "history": hashlib.sha256(records.encode()).hexdigest()
    }  # fmt: skip


def observe_components(
    graph: Graph, source: Source | Samples, how: Preprocessing | None, samples: int | None
) -> dict[str, str]:
    """Return the components of stage `observe`.

    Args:
        graph: What is measured.
        source: Not an iterator: it is read once here, and again where it is used.
        how, samples: As for `open_samples`.
    """
    return {
        "graph": graph_digest(graph),
        "data": data_digest(source),
        "preprocessing": repr(how or Preprocessing()),
        "samples": "all" if samples is None else str(samples),
        **environment(),
    }


def emit_components(graph: Graph, target_digest: str) -> dict[str, str]:
    """Return the components of stage `emit`."""
    return {**graph_components(graph), "target": target_digest, **environment()}


def file_digest(path: Path) -> str:
    """Return sha256 over a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def data_digest(source: Source | Samples) -> str:
    """Return a digest of calibration data: of the files' bytes, or of the arrays.

    Raises:
        DataError: A file cannot be read.
    """
    if isinstance(source, (str, Path)):
        try:
            return _path_digest(Path(source))
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror}", where=str(source)) from error
    h = hashlib.sha256()
    if isinstance(source, np.ndarray):
        h.update(_array_bytes(source))
    elif isinstance(source, Mapping):
        _update_mapping(h, source)
    else:
        _update_items(h, source)
    return h.hexdigest()


def _path_digest(path: Path) -> str:
    if not path.is_dir():
        return file_digest(path)
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    lines = [f"{file.name}\0{file_digest(file)}" for file in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _update_items(h: hashlib._Hash, source: Iterable[object]) -> None:
    for item in source:
        if isinstance(item, Mapping):
            h.update(b"sample")
            _update_mapping(h, item)
        else:
            h.update(b"array" + _array_bytes(np.asarray(item)))


def _update_mapping(h: hashlib._Hash, arrays: Mapping[str, Array]) -> None:
    for name, array in sorted(arrays.items()):
        h.update(f"{name}\0".encode() + _array_bytes(np.asarray(array)))


def _array_bytes(array: Array) -> bytes:
    return f"{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()
