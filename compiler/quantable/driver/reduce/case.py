"""What is reduced, and what decides whether a smaller form of it still shows the fault."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from quantable.driver import runtime
from quantable.ir import Graph, Level, QuantableError, graph_digest, verify
from quantable.passes.row_owners import with_owned_rows
from quantable.passes.subgraph import subgraph

Array = npt.NDArray[np.generic]
Arrays = Mapping[str, Array]
Oracle = Callable[[Graph, Arrays | None], bool]
"""Whether a graph, with one array a graph input where there are inputs, is still interesting."""


@dataclass(frozen=True)
class Case:
    """A graph and its inputs.

    Attributes:
        graph: Of any level.
        inputs: One array a graph input; None where the fault needs no data.
    """

    graph: Graph
    inputs: Arrays | None = None

    @property
    def key(self) -> str:
        """What two cases that an oracle cannot tell apart have in common."""
        h = hashlib.sha256(graph_digest(self.graph).encode())
        h.update(repr((sorted(self.graph.metadata.items()), self.graph.history)).encode())
        for name, array in sorted((self.inputs or {}).items()):
            h.update(f"\0{name} {array.dtype} {array.shape} ".encode() + array.tobytes())
        return h.hexdigest()


class Bench:
    """Holds the smallest case so far; takes a smaller one if it is valid and interesting.

    Args:
        case: Where to begin.
        oracle: Deterministic.
    """

    def __init__(self, case: Case, oracle: Oracle) -> None:
        self.case = case
        self.calls = 0
        self._oracle = oracle
        self._seen = {case.key}

    def attempt(self, candidate: Case | None) -> bool:
        """Make a candidate the present case if it is new, valid and interesting."""
        if candidate is None or candidate.key in self._seen:
            return False
        self._seen.add(candidate.key)
        try:
            verify(candidate.graph)
        except QuantableError:
            return False
        if not self.is_interesting(candidate):
            return False
        self.case = candidate
        return True

    def is_interesting(self, case: Case) -> bool:
        """Ask the oracle."""
        self.calls += 1
        return self._oracle(case.graph, case.inputs)


def part(case: Case, names: set[str]) -> Case | None:
    """Return the case of some operations only; None where there is none.

    What they read of the others becomes an input; its data are computed.
    """
    if not any(op.name in names for op in case.graph.operations):
        return None
    graph = subgraph(case.graph, names)
    if graph.level is Level.QUANTABLE:
        graph = with_owned_rows(graph)
    if case.inputs is None:
        return Case(graph)
    inputs = {name: array for name, array in case.inputs.items() if name in graph.inputs}
    missing = [name for name in graph.inputs if name not in inputs]
    if missing:
        try:
            inputs |= runtime.reference(case.graph).run(case.inputs, missing)
        except QuantableError:
            return None
    return Case(graph, inputs)


def live(case: Case) -> Case | None:
    """Return the case without what no output depends on."""
    graph, needed = case.graph, set(case.graph.outputs)
    names: set[str] = set()
    for op in reversed(graph.operations):
        if needed.intersection(op.outputs):
            names.add(op.name)
            needed.update(op.inputs)
    outputs = tuple(name for name in graph.outputs if graph.producers.get(name) is not None)
    found = part(case, names)
    return None if found is None else replace(found, graph=replace(found.graph, outputs=outputs))


def is_consistent(case: Case) -> bool:
    """Whether the reference runs the case, and every value has the shape that it claims."""
    graph = case.graph
    inputs = case.inputs or {name: _zeros(graph, name) for name in graph.inputs}
    names = [name for name in graph.values if name not in graph.parameters]
    read = {name for op in graph.operations for name in op.outputs} | set(graph.inputs)
    names = [name for name in names if name in read]
    try:
        results = runtime.reference(graph).run(inputs, names)
    except (QuantableError, ValueError):
        return False
    return all(_fits(results[name].shape, graph.shape(name)) for name in names)


def _zeros(graph: Graph, name: str) -> Array:
    shape = graph.shape(name) or ()
    sizes = [dim if isinstance(dim, int) else 1 for dim in shape]
    return np.zeros(sizes, graph.values[name].dtype.numpy)


def _fits(found: tuple[int, ...], claimed: tuple[int | str, ...] | None) -> bool:
    if claimed is None:
        return True
    return len(found) == len(claimed) and all(
        isinstance(dim, str) or dim == size for dim, size in zip(claimed, found, strict=True)
    )
