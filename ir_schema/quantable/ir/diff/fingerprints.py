"""Fingerprints of operations that know no names and no order.

A label is what an operation is by itself, at one level of detail. Merkle fingerprints add what
it is made from (`up`) or what is made of it (`down`). Labels and fingerprints are interned in a
table that both graphs share: equal numbers mean equal structures, without collisions, and
no hash seed can change anything.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Hashable, Iterable, Sequence

from quantable.ir.contents import ContentRef
from quantable.ir.graph import Graph
from quantable.ir.hashing import object_digest
from quantable.ir.operation import Attribute, Operation, QuantableOperation
from quantable.ir.quantization import (
    QuantizationParameters,
    Relation,
    TensorQuantizationConfig,
)
from quantable.ir.region import Region

Key = Hashable
Slot = tuple[int, str, int]
"""(position of the operation, 'in' or 'out', index)."""


class Detail(enum.IntEnum):
    """What a label holds; each level drops something of the one before."""

    EXACT = 0  # everything but names and order
    UNQUANTIZED = 1  # no configs, rows and stored integers
    TYPED = 2  # no contents of parameters: kind, attributes and types
    KIND = 3  # kind and numbers of slots


class Interner:
    """Numbers structures in the order of their first use."""

    def __init__(self) -> None:
        self._numbers: dict[Key, int] = {}

    def number(self, key: Key) -> int:
        return self._numbers.setdefault(key, len(self._numbers))


class Fingerprints:
    """The fingerprints of one graph's operations, by position in `graph.operations`.

    Args:
        graph: The graph.
        detail: What labels hold.
        interner: Shared with the graph that this one is compared with.

    Attributes:
        up: Of each operation with all it is made from.
        down: Of each operation with all that is made of it; other inputs of those excluded.
        both: Of each operation with all above and all below.
        refined: The same, told apart by the context of all that is above and below, and of all that
            shares a row or a parameter.
    """

    def __init__(self, graph: Graph, detail: Detail, interner: Interner) -> None:
        self._graph = graph
        self._interner = interner
        self._inputs = {name: index for index, name in enumerate(graph.inputs)}
        self._made = {
            out: (index, slot)
            for index, op in enumerate(graph.operations)
            for slot, out in enumerate(op.outputs)
            if out
        }
        self._outputs: dict[str, list[int]] = {}
        for index, name in enumerate(graph.outputs):
            self._outputs.setdefault(name, []).append(index)
        labels = [interner.number((detail, label(graph, op, detail))) for op in graph.operations]
        self.up = self._up(labels)
        self.down = self._down(labels)
        self.both = self._pairs(self.up, self.down)
        linked = self._linked(self.both)
        self.refined = self._pairs(self._up(linked), self._down(linked))

    def _pairs(self, up: Sequence[int], down: Sequence[int]) -> list[int]:
        return [self._interner.number(("both", *pair)) for pair in zip(up, down, strict=True)]

    def _linked(self, found: Sequence[int]) -> list[int]:
        """Add to each fingerprint those of the operations that hold the same rows and parameters.

        Wires do not tell which of two equal rows a slot has, and which of two equal parameters.
        """
        members: dict[tuple[str, str], list[tuple[int, int, str]]] = {}
        ties: list[list[tuple[tuple[str, str], int, str]]] = []
        for index, op in enumerate(self._graph.operations):
            held: list[tuple[tuple[str, str], int, str]] = []
            for slot, name in enumerate(op.inputs):
                if name in self._graph.parameters:
                    members.setdefault(("parameter", name), []).append((found[index], slot, ""))
                    held.append((("parameter", name), slot, ""))
            for side, slot, config in slots_of(op):
                row = self._graph.rows.get(config.row)
                for name in (config.row, *(row.derived_from if row else ())):
                    members.setdefault(("row", name), []).append((found[index], slot, side))
                    held.append((("row", name), slot, side))
            ties.append(held)
        groups = {
            key: self._interner.number(("group", tuple(sorted(group))))
            for key, group in members.items()
        }
        return [
            self._interner.number(
                ("linked", found[index], tuple((groups[k], slot, side) for k, slot, side in held))
            )
            for index, held in enumerate(ties)
        ]

    def _up(self, labels: Sequence[int]) -> list[int]:
        found: list[int] = []
        for index, op in enumerate(self._graph.operations):
            operands = tuple(self._operand(name, found) for name in op.inputs)
            found.append(self._interner.number(("up", labels[index], operands)))
        return found

    def _operand(self, name: str, found: Sequence[int]) -> Key:
        if not name:
            return "absent"
        if name in self._graph.parameters:
            return "parameter"
        made = self._made.get(name)
        if made is not None and made[0] < len(found):
            return found[made[0]], made[1]
        return "input", self._inputs.get(name, -1)

    def _down(self, labels: Sequence[int]) -> list[int]:
        operations = self._graph.operations
        found = [0] * len(operations)
        uses: dict[str, list[tuple[int, int]]] = {}
        for index in range(len(operations) - 1, -1, -1):
            op = operations[index]
            readers = tuple(
                (tuple(sorted(uses.get(name, ()))), tuple(self._outputs.get(name, ())))
                for name in op.outputs
            )
            found[index] = self._interner.number(("down", labels[index], readers))
            for slot, name in enumerate(op.inputs):
                uses.setdefault(name, []).append((found[index], slot))
        return found


def slots_of(op: Operation) -> Iterable[tuple[str, int, TensorQuantizationConfig]]:
    """Return ('in' or 'out', index, config) of every slot; nothing of a plain operation."""
    return op.config.slots() if isinstance(op, QuantableOperation) else ()


def row_owners(operations: Iterable[Operation]) -> dict[str, Slot]:
    """Return, by row, the slot that owns it."""
    owners: dict[str, Slot] = {}
    for index, op in enumerate(operations):
        for side, slot, config in slots_of(op):
            if config.relation in (Relation.OWN, Relation.DERIVED):
                owners.setdefault(config.row, (index, side, slot))
    return owners


def label(graph: Graph, op: Operation, detail: Detail) -> Key:
    """Return what an operation is by itself: no name, no operand, no order."""
    sizes = (len(op.inputs), len(op.outputs))
    if detail is Detail.KIND:
        return op.kind, sizes
    held: list[Key] = [op.kind, sizes, attributes_key(op), _types(graph, op)]
    if detail <= Detail.UNQUANTIZED:
        held.append(tuple(graph.parameters.get(name) for name in op.inputs))
    if detail is Detail.EXACT and isinstance(op, QuantableOperation):
        held.append((op.platform, op.originals, tuple((b.slot, b.content) for b in op.baked)))
        held.append(
            tuple(
                (side, index, config_key(config), row_key(graph.rows.get(config.row)))
                for side, index, config in op.config.slots()
            )
        )
    return tuple(held)


def attributes_key(op: Operation) -> Key:
    """Return the attributes so that equal ones, NaN included, are equal."""
    return tuple((name, attribute_key(value)) for name, value in op.attributes.items())


def attribute_key(value: Attribute) -> Key:
    """Return an attribute's type and bits."""
    if isinstance(value, ContentRef):
        return value
    if isinstance(value, float):
        return struct.pack("<d", value)
    if isinstance(value, tuple):
        return tuple(attribute_key(item) for item in value)
    if isinstance(value, Region):
        return "Region", object_digest(value)
    return type(value).__name__, value


def config_key(config: TensorQuantizationConfig) -> Key:
    """Return everything of a config but the name of its row."""
    return (
        config.policy, config.bits, config.exponent_bits, config.quant_min, config.quant_max,
        config.rounding, config.channel_axis, config.observer, config.visibility, config.state,
        config.relation, config.suspended, config.block_size,
    )  # fmt: skip


def row_key(row: QuantizationParameters | None) -> Key:
    """Return the numbers of a row, without its name and its sources' names."""
    return None if row is None else (row.scale, row.zero_point, len(row.derived_from))


def _types(graph: Graph, op: Operation) -> Key:
    values = (graph.values.get(name) for name in op.outputs)
    return tuple(
        None if value is None else (value.dtype, value.shape, value.container) for value in values
    )
