"""Where user operations come from: installed packages, files, and what a caller hands in.

A package names them by an entry point of the group ``quantable.operations``; a file has them under
the name ``OPERATIONS``. Both hold one `UserOperation` or a sequence of them.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from quantable.ir import Graph, OperationLibrary, UserError
from quantable.ir.operation_library import RegisteredOperation, definition_digest, recorded_kinds
from quantable.ir.python_references import load_module
from quantable.ir.standard_operations import known_operations
from quantable.ir.user_operations import UserOperation

GROUP = "quantable.operations"
NAME = "OPERATIONS"
_HELP = "expected FILE.py, FILE.py:NAME or PACKAGE.MODULE:NAME, with a UserOperation or a "
_HELP += f"sequence of them; the name is {NAME} by default"
Source = str | Path | UserOperation
"""A file, a module, or a definition."""


def library_of(sources: Iterable[Source] = ()) -> OperationLibrary:
    """Return the given user operations and those of installed packages; given ones come first.

    Raises:
        UserError: A source holds no definitions, or two define one kind.
    """
    given = _joined(entry for source in sources for entry in _given(source))
    installed = {kind: entry for kind, entry in _installed().items() if kind not in given}
    return OperationLibrary({**installed, **given})


def with_library(graph: Graph, library: OperationLibrary | None = None) -> Graph:
    """Return a graph that knows the user operations at hand.

    Packages are looked up only where the graph has operations that Quantable does not know. Whether
    their definitions are the recorded ones is checked by whoever needs them.
    """
    if library is None:
        library = library_of() if _has_user_operations(graph) else OperationLibrary()
    return replace(graph, library=library)


def _has_user_operations(graph: Graph) -> bool:
    return bool(recorded_kinds(graph.metadata))


def _joined(entries: Iterable[RegisteredOperation]) -> dict[str, RegisteredOperation]:
    found: dict[str, RegisteredOperation] = {}
    for entry in entries:
        kind = entry.definition.kind
        other = found.setdefault(kind, entry)
        if other is not entry and other.origin != entry.origin:
            raise UserError(
                f"user operation '{kind}': expected one definition, found those of "
                f"{other.package} {other.version} and {entry.package} {entry.version}",
                help="uninstall one of them, or give the one to take with --operations",
            )
    return found


@functools.cache
def _entry_points(path: tuple[str, ...]) -> tuple[metadata.EntryPoint, ...]:
    del path  # entry points are those of the present sys.path
    return tuple(sorted(metadata.entry_points(group=GROUP), key=lambda point: point.name))


def _installed() -> dict[str, RegisteredOperation]:
    return _joined(entry for point in _entry_points(tuple(sys.path)) for entry in _loaded(point))


def _loaded(point: metadata.EntryPoint) -> Iterator[RegisteredOperation]:
    dist = point.dist
    package, version = (dist.name, dist.version) if dist else (point.name, "0")
    where = f"entry point '{point.name}' of package {package} {version}"
    try:
        found = point.load()
    except Exception as error:
        raise UserError(
            f"cannot be loaded: {type(error).__name__}: {error}", where=where,
            help="repair or uninstall the package",
        ) from error  # fmt: skip
    yield from _registered(found, package, version, where)


def _given(source: Source) -> Iterator[RegisteredOperation]:
    if isinstance(source, UserOperation):
        yield from _registered(source, "given", "0", "operations")
        return
    place, _, name = str(source).partition(":") if ":" in str(source) else (str(source), "", "")
    module = load_module(place, place, _HELP)
    found = getattr(module, name or NAME, None)
    if found is None:
        raise UserError(
            f"expected an attribute '{name or NAME}', found none", where=place, help=_HELP
        )
    version = str(getattr(module, "__version__", "0")).replace(" ", "")
    yield from _registered(found, Path(place).stem.replace(" ", "-"), version, place)


def _registered(
    found: Any, package: str, version: str, where: str
) -> Iterator[RegisteredOperation]:
    items = [found] if isinstance(found, UserOperation) else found
    if not isinstance(items, (list, tuple)) or not all(isinstance(i, UserOperation) for i in items):
        raise UserError(
            f"expected user operations, found {type(found).__name__}", where=where, help=_HELP
        )
    for item in items:
        if item.kind in known_operations():
            raise UserError(f"'{item.kind}' is an operation of Quantable's own", where=where)
        yield RegisteredOperation(item, package, version, definition_digest(item))
