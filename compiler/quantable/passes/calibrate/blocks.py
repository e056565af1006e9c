"""The operations that see what an activation's row does: those that read the tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from quantable.ir import Graph, Operation, QuantableOperation, Relation, State
from quantable.passes.laboratory import Laboratory
from quantable.passes.slot_editor import Slot
from quantable.passes.subgraph import subgraph

Array = npt.NDArray[np.generic]
Values = Mapping[str, Array]


@dataclass(frozen=True)
class ConsumerBlock:
    """A part of a graph in which one row is judged.

    Attributes:
        owner: The slot that owns the row.
        row: Its id.
        operations: Names: what makes the tensor, where its output slot quantizes it, and what reads
            it, directly or behind operations whose output nothing quantizes again.
        outputs: The values that are compared.
    """

    owner: Slot
    row: str
    operations: tuple[str, ...]
    outputs: tuple[str, ...]

    def part(self, graph: Graph) -> Graph:
        """Return the block as a graph that shows this row alone.

        Parameters are the float ones, and nothing quantizes the outputs again.
        """
        names = set(self.operations)
        changed = []
        for op in graph.quantable_operations:
            if op.name not in names:
                continue
            for side, index, config in op.config.slots():
                name = (op.inputs if side == "in" else op.outputs)[index]
                shown = name in self.outputs and config.row != self.row
                if (side == "in" and graph.is_parameter(name)) or (side == "out" and shown):
                    op = op.with_slot(side, index, config.suspend())
            changed.append(op)
        return subgraph(graph.with_operations(changed), names)


def consumer_blocks(graph: Graph) -> Iterator[ConsumerBlock]:
    """Yield the block of every activation row that is calibrated and can still be changed.

    Rows are in the order of their owners; fixed and baked ones, and those that slots of dequantized
    operations hold, are left out.
    """
    for op in graph.quantable_operations:
        for side, index, config in op.config.slots():
            name = (op.inputs if side == "in" else op.outputs)[index]
            is_open = config.relation is Relation.OWN and config.state is State.ACTIVATED
            plain = not (config.policy.is_floating or config.policy.dynamic)
            if not name or graph.is_parameter(name) or config.observer == "fixed":
                continue
            if is_open and plain and not config.policy.is_per_channel:
                yield _block(graph, op, Slot(op.name, side, index), config.row)


def _block(graph: Graph, op: QuantableOperation, owner: Slot, row: str) -> ConsumerBlock:
    start = (op.inputs if owner.side == "in" else op.outputs)[owner.index]
    operations = dict.fromkeys([op.name])
    outputs: dict[str, None] = {}
    pending, seen = [start], {start}
    while pending:
        value = pending.pop(0)
        readers = [
            reader
            for reader, slot in graph.uses(value)
            if value != start or owner.side == "out" or _holds(reader, slot, row)
        ]
        if value in graph.outputs and (value != start or owner.side == "out"):
            outputs[value] = None
        for reader in readers:
            operations[reader.name] = None
            for index, out in enumerate(reader.outputs):
                if not out or out in seen or not graph.values[out].is_real:
                    continue
                seen.add(out)
                if _is_quantized_behind(reader, index) or not graph.uses(out):
                    outputs[out] = None
                else:
                    pending.append(out)
    return ConsumerBlock(owner, row, tuple(operations), tuple(outputs) or (start,))


def _holds(reader: Operation, slot: int, row: str) -> bool:
    return isinstance(reader, QuantableOperation) and reader.config.inputs[slot].row == row


def _is_quantized_behind(reader: Operation, index: int) -> bool:
    """Whether the block ends here: the output has a row of its own, or stays float."""
    if not isinstance(reader, QuantableOperation):
        return True
    return reader.config.outputs[index].state is not State.OVERLAPPED


class QuantizedWalk:
    """Values of the quantized network, computed once from front to back while rows change.

    Attributes:
        graph: The network as it is by now; the caller may put other rows into it.
    """

    def __init__(self, graph: Graph, laboratory: Laboratory, samples: Sequence[int]) -> None:
        self.graph = graph
        self._laboratory, self._samples = laboratory, samples
        self._position = 0
        self._place = {op.name: index for index, op in enumerate(graph.operations)}
        self._held: Values = laboratory.values(graph, graph.inputs, samples)

    def before(self, operation: str) -> Values:
        """Return the values that are made before an operation and read by it or behind it."""
        stop = self._place[operation]
        if stop > self._position:
            segment = [op.name for op in self.graph.operations[self._position : stop]]
            part = subgraph(self.graph, segment)
            kept = dict.fromkeys(n for op in self.graph.operations[stop:] for n in op.inputs if n)
            made = {name for op in part.operations for name in op.outputs}
            names = [name for name in kept if name in made]
            feeds = {name: self._held[name] for name in part.inputs}
            found = self._laboratory.values(part, names, self._samples, feeds) if names else {}
            held = {name: array for name, array in self._held.items() if name in kept}
            self._held = {**held, **found}
            self._position = stop
        return self._held

    def put(self, graph: Graph) -> None:
        """Go on with other rows."""
        self.graph = replace(self.graph, rows=graph.rows)
