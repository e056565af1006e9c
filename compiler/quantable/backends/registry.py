"""The table of backends. Modules are imported when they are asked for."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast

from quantable.ir import Graph, UnknownNameError


class Backend(Protocol):
    """What every backend's module offers."""

    def emit(self, graph: Graph, directory: str | os.PathLike[str]) -> Mapping[str, object]:
        """Write the target's files, ``manifest.json`` among them, and return the manifest."""


@dataclass(frozen=True, slots=True)
class BackendEntry:
    """One backend.

    Attributes:
        name: What target descriptions call it.
        module: Where its `emit` is.
        summary: One line.
    """

    name: str
    module: str
    summary: str

    def load(self) -> Backend:
        """Import and return the module."""
        return cast(Backend, importlib.import_module(self.module))


_TABLE = (
    BackendEntry("c", "quantable.backends.c", "C11 sources with one caller-owned arena"),
    BackendEntry("onnx", "quantable.backends.onnx", "an ONNX file with QDQ pairs"),
)

BACKENDS: dict[str, BackendEntry] = {entry.name: entry for entry in _TABLE}
"""Every backend by name."""


def backend(name: str) -> Backend:
    """Return a backend's module.

    Raises:
        UnknownNameError: No backend has the name; the message lists the nearest.
    """
    if name not in BACKENDS:
        raise UnknownNameError("backend", name, BACKENDS)
    return BACKENDS[name].load()
