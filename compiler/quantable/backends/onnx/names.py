"""The nodes and initializers of a file while it is written, and fresh names for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy.typing as npt

from quantable.ir import Attribute, ContentRef, DType, Graph, Operation


class NodeWriter:
    """Collects operations in order, and the constants that they read."""

    def __init__(self, graph: Graph) -> None:
        self.operations: list[Operation] = []
        self.parameters: dict[str, ContentRef] = {}
        self.store = graph.store
        self._graph = graph
        self._values = set(graph.values)
        self._written: set[str] = set()
        self._nodes = {op.name for op in graph.operations}

    def fresh(self, hint: str) -> str:
        """Return a value name that nothing has."""
        return _fresh(hint, self._values)

    def node(
        self,
        kind: str,
        inputs: Iterable[str],
        outputs: Iterable[str],
        attributes: Mapping[str, Attribute],
    ) -> None:
        """Write an operation that the graph does not hold; it is named after its output."""
        outs = tuple(outputs)
        name = _fresh(f"{outs[0]}.{kind}", self._nodes)
        self.operation(Operation(name, kind, tuple(inputs), outs, attributes))

    def operation(self, operation: Operation) -> None:
        """Write an operation, and those parameters of the graph that it reads."""
        for name in operation.inputs:
            if name in self._graph.parameters and name not in self._written:
                self.parameter(name, self._graph.parameters[name])
        self._written.update(operation.outputs)
        self.operations.append(operation)

    def constant(self, hint: str, values: npt.ArrayLike, dtype: DType | None = None) -> str:
        """Write an initializer and return its name."""
        return self.parameter(self.fresh(hint), self.store.put(values, dtype))

    def parameter(self, name: str, content: ContentRef) -> str:
        """Write an initializer of a given content and return its name."""
        self.parameters[name] = content
        self._written.add(name)
        return name


def _fresh(hint: str, taken: set[str]) -> str:
    name, counter = hint, 1
    while name in taken:
        name, counter = f"{hint}.{counter}", counter + 1
    taken.add(name)
    return name
