"""A mutable working copy of a graph, for passes."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from quantable.ir.contents import ContentRef
from quantable.ir.dtypes import DType
from quantable.ir.errors import InvariantError
from quantable.ir.graph import Graph, Shape, Value
from quantable.ir.operation import Attribute, Operation


class GraphEditor:
    """Edits a graph; `finish` returns the new one.

    The order of operations is kept where the edges allow it; operations that nothing reads are
    kept too (removing them is the business of `eliminate-dead-code`), values that nothing names are
    dropped.

    Attributes:
        journal: Names of the operations that were added, replaced or removed, in order.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.store = graph.store
        self.inputs = list(graph.inputs)
        self.outputs = list(graph.outputs)
        self._operations: dict[str, Operation] = {}
        self._producers: dict[str, str] = {}
        self._readers: dict[str, dict[str, None]] = {}
        self.journal: list[str] = []
        for operation in graph.operations:
            self._link(operation)
        self.values: dict[str, Value] = dict(graph.values)
        self.parameters: dict[str, ContentRef] = dict(graph.parameters)
        self._taken = set(self._operations) | set(self.values)
        self.journal.clear()

    @property
    def operations(self) -> Mapping[str, Operation]:
        """The operations by name, in their present order."""
        return self._operations

    def _link(self, operation: Operation) -> None:
        self.journal.append(operation.name)
        self._operations[operation.name] = operation
        self._producers.update({out: operation.name for out in operation.outputs if out})
        for name in operation.inputs:
            self._readers.setdefault(name, {})[operation.name] = None

    def _unlink(self, operation: Operation) -> None:
        self.journal.append(operation.name)
        for out in operation.outputs:
            if self._producers.get(out) == operation.name:
                del self._producers[out]
        for name in set(operation.inputs):
            self._readers[name].pop(operation.name, None)

    def fresh_name(self, hint: str) -> str:
        """Return a name that no value and no operation has."""
        name, counter = hint, 1
        while name in self._taken:
            name, counter = f"{hint}.{counter}", counter + 1
        self._taken.add(name)
        return name

    def producer(self, value: str) -> Operation | None:
        """Return the operation that makes a value."""
        name = self._producers.get(value)
        return None if name is None else self._operations[name]

    def uses(self, value: str) -> list[tuple[Operation, int]]:
        """Return (operation, input slot) of every use of a value."""
        return [
            (self._operations[reader], slot)
            for reader in self._readers.get(value, ())
            for slot, name in enumerate(self._operations[reader].inputs)
            if name == value
        ]

    def array(self, parameter: str) -> npt.NDArray[np.generic]:
        """Return the contents of a parameter, read-only."""
        return self.store.get(self.parameters[parameter])

    def add_value(self, hint: str, dtype: DType, shape: Shape | None) -> str:
        """Add a value and return its name."""
        name = self.fresh_name(hint)
        self.values[name] = Value(name, dtype, shape)
        return name

    def add_parameter(self, hint: str, contents: npt.ArrayLike, dtype: DType | None = None) -> str:
        """Add a parameter and return its name."""
        ref = self.store.put(contents, dtype)
        name = self.add_value(hint, ref.dtype, ref.shape)
        self.parameters[name] = ref
        return name

    def make_parameter(self, value: str, contents: npt.ArrayLike) -> None:
        """Turn an existing value into a parameter (its producer must be removed by the caller)."""
        dtype = self.values[value].dtype  # NumPy does not tell elements of 2 and 4 bits
        ref = self.store.put(contents, dtype if dtype.is_packed else None)
        self.values[value] = Value(value, ref.dtype, ref.shape)
        self.parameters[value] = ref

    def add_operation(
        self,
        hint: str,
        kind: str,
        inputs: Iterable[str],
        outputs: Iterable[str],
        attributes: Mapping[str, Attribute] | None = None,
        sources: Iterable[str] = (),
    ) -> Operation:
        """Add an operation and return it."""
        operation = Operation(
            self.fresh_name(hint), kind, tuple(inputs), tuple(outputs), attributes or {},
            tuple(sources),
        )  # fmt: skip
        self._link(operation)
        return operation

    def replace(self, operation: Operation) -> None:
        """Put an operation in the place of the one of the same name."""
        if operation.name not in self._operations:
            raise InvariantError(f"no operation '{operation.name}' to replace")
        self._unlink(self._operations[operation.name])
        self._link(operation)

    def remove(self, operation: Operation) -> None:
        """Remove an operation; its outputs stay as values until nothing names them."""
        self._unlink(self._operations.pop(operation.name))

    def replace_uses(self, old: str, new: str) -> None:
        """Make every reader of `old`, graph outputs included, read `new`."""
        for reader in list(self._readers.get(old, ())):
            op = self._operations[reader]
            renamed = tuple(new if name == old else name for name in op.inputs)
            self.replace(replace(op, inputs=renamed))
        self.outputs = [new if name == old else name for name in self.outputs]

    def finish(self) -> Graph:
        """Return the edited graph, operations in topological order, stable."""
        operations = _topological(list(self._operations.values()))
        named = {n for op in operations for n in (*op.inputs, *op.outputs) if n}
        named |= {*self.inputs, *self.outputs}
        values = {n: v for n, v in self.values.items() if n in named}
        parameters = {n: r for n, r in self.parameters.items() if n in named}
        return replace(
            self.graph,
            inputs=tuple(self.inputs),
            outputs=tuple(self.outputs),
            operations=tuple(operations),
            values=values,
            parameters=parameters,
        )


def _topological(operations: list[Operation]) -> list[Operation]:
    """Sort topologically; among ready operations the earlier one first (Kahn's algorithm)."""
    producer = {out: i for i, op in enumerate(operations) for out in op.outputs if out}
    needs = [{producer[n] for n in op.inputs if n in producer} for op in operations]
    readers: dict[int, list[int]] = {}
    for index, sources in enumerate(needs):
        for source in sources:
            readers.setdefault(source, []).append(index)
    ready = [i for i, sources in enumerate(needs) if not sources]
    heapq.heapify(ready)
    waiting = [len(sources) for sources in needs]
    order: list[Operation] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(operations[index])
        for reader in readers.get(index, ()):
            waiting[reader] -= 1
            if waiting[reader] == 0:
                heapq.heappush(ready, reader)
    if len(order) != len(operations):
        stuck = next(op for i, op in enumerate(operations) if waiting[i])
        raise InvariantError("the graph has a cycle", where=stuck.where())
    return order
