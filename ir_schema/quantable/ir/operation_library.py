"""The user operations that are at hand, and which of them a graph was imported with.

A graph carries a library, which is no part of its identity, as it carries a store of contents. What
is part of it is a record of each user operation in its metadata: package, version, digest of the
definition, and version of the domain.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from quantable.ir.errors import OptionError, UserError
from quantable.ir.user_operations import INTEGER_PREFIX, Function, UserOperation

if TYPE_CHECKING:
    from quantable.ir.graph import Graph

_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_SHOWN = 12


def _module_source(name: str) -> bytes:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.origin or not Path(spec.origin).is_file():
        raise _sourceless(f"module '{name}'")
    return Path(spec.origin).read_bytes()


def _sourceless(what: str) -> OptionError:
    return OptionError(
        f"expected the source of {what}, found none",
        help="define the functions of a user operation in a file",
    )


def source_of(function: Function) -> bytes:
    """Return the source of the module that a function is defined in.

    Raises:
        OptionError: There is none.
    """
    if isinstance(function, str):
        return _module_source(function.partition(":")[0])
    while isinstance(function, functools.partial):
        function = function.func
    try:
        path = inspect.getsourcefile(function)
    except TypeError:
        path = None
    if path is None or not Path(path).is_file():
        raise _sourceless(repr(function))
    return Path(path).read_bytes()


def definition_digest(operation: UserOperation) -> str:
    """Return sha256 over a definition: its data, its C, and the sources of its functions' modules.

    Paths have no part in it.
    """
    sources: list[bytes] = []

    def plain(value: object) -> object:
        if callable(value) or (isinstance(value, str) and _REFERENCE.fullmatch(value)):
            sources.append(source_of(value))
            return value if isinstance(value, str) else getattr(value, "__qualname__", "partial")
        if isinstance(value, Mapping):
            return {str(key): plain(item) for key, item in value.items()}
        if isinstance(value, (tuple, list)):
            return [plain(item) for item in value]
        if hasattr(value, "__dataclass_fields__"):
            held = {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
            return {"": type(value).__name__, **held}
        return value

    h = hashlib.sha256(json.dumps(plain(operation), sort_keys=True).encode())
    for source in sources:
        h.update(len(source).to_bytes(8, "little") + source)
    return h.hexdigest()


@dataclass(frozen=True)
class RegisteredOperation:
    """A definition, and where it is from.

    Attributes:
        definition: What it is.
        package, version: The package that holds it.
        digest: See `definition_digest`.
    """

    definition: UserOperation
    package: str
    version: str
    digest: str

    @property
    def origin(self) -> tuple[str, str, str]:
        return self.package, self.version, self.digest

    def record(self, domain_version: int) -> str:
        """Return what a graph remembers of it."""
        return f"{' '.join(self.origin)} {domain_version}"


class OperationLibrary(Mapping[str, RegisteredOperation]):
    """Registered operations by kind; immutable."""

    def __init__(
        self, operations: Mapping[str, RegisteredOperation] = MappingProxyType({})
    ) -> None:
        self._held = dict(sorted(operations.items()))

    def __getitem__(self, kind: str) -> RegisteredOperation:
        return self._held[kind]

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)

    def __hash__(self) -> int:
        return hash(tuple(self._held))

    @property
    def digest(self) -> str:
        """sha256 over all definitions; '' where there are none."""
        lines = [f"{kind} {' '.join(held.origin)}" for kind, held in self._held.items()]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest() if lines else ""


NO_OPERATIONS = OperationLibrary()


def user_kind(kind: str) -> str:
    """Return the kind of the user operation that an operation of any level would be."""
    return kind.removeprefix(INTEGER_PREFIX)


def registered(graph: Graph, kind: str) -> RegisteredOperation | None:
    """Return the definition of a kind of operation in a graph, None where it is not a user's.

    Raises:
        UserError: The definition that the graph was imported with is not here.
    """
    held = graph.library.get(user_kind(kind))
    record = graph.metadata.get(record_key(user_kind(kind)))
    if record is not None:
        _require(user_kind(kind), record, held)
    return held


def require_recorded(graph: Graph) -> None:
    """Raise unless every user operation that a graph was imported with is here.

    Raises:
        UserError: Names the package that is missing, or another one that is there.
    """
    for key, record in graph.metadata.items():
        if key.startswith(_RECORD):
            kind = key.removeprefix(_RECORD)
            _require(kind, record, graph.library.get(kind))


def _require(kind: str, record: str, held: RegisteredOperation | None) -> None:
    package, version, digest, _ = record.rsplit(" ", 3)
    if held is not None and held.origin == (package, version, digest):
        return
    expected, found = f"{package} {version}", "none"
    help_text = f"pip install {package}=={version}, or give the file: --operations FILE.py"
    if held is not None:
        found = f"{held.package} {held.version}"
        help_text = "use the definition that it was imported with, or import the model again"
        if found == expected:
            expected += f" with definition {digest[:_SHOWN]}"
            found = f"definition {held.digest[:_SHOWN]}"
    raise UserError(
        f"expected operation package {expected}, found {found}",
        where=f"operations of kind '{kind}'", help=help_text,
    )  # fmt: skip


_RECORD = "operation."


def recorded_kinds(metadata: Mapping[str, str]) -> list[str]:
    """Return the kinds of user operations that a graph was imported with."""
    return [key.removeprefix(_RECORD) for key in metadata if key.startswith(_RECORD)]


def record_key(kind: str) -> str:
    """Return the key of a graph's metadata that remembers a user operation."""
    return f"{_RECORD}{kind}"


def recorded_versions(metadata: Mapping[str, str]) -> dict[str, int]:
    """Return, by domain, the version that a graph was imported with."""
    found: dict[str, int] = {}
    for key, record in metadata.items():
        if key.startswith(_RECORD):
            domain = key.removeprefix(_RECORD).rpartition(".")[0]
            found[domain] = max(found.get(domain, 0), int(record.rsplit(" ", 1)[1]))
    return found
