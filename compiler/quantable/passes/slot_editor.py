"""A mutable working copy of a graph's slots and rows, for passes that relate slots."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from quantable.ir import (
    Graph,
    QuantableOperation,
    QuantizationParameters,
    Relation,
    State,
    TensorQuantizationConfig,
)


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot of one operation.

    Attributes:
        operation: Name of the operation.
        side: 'in' or 'out'.
        index: Slot number.
    """

    operation: str
    side: str
    index: int


class SlotEditor:
    """Edits configs and rows; every reference to a row is kept up to date.

    Attributes:
        rows: The rows by id.
        journal: Names of the operations of which a slot was changed, in order.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.rows = dict(graph.rows)
        self.journal: list[str] = []
        self._operations = {op.name: op for op in graph.quantable_operations}
        self._holders: dict[str, dict[Slot, None]] = {}
        for slot, config in self.slots():
            if config.row:
                self._holders.setdefault(config.row, {})[slot] = None

    def slots(self) -> Iterator[tuple[Slot, TensorQuantizationConfig]]:
        """Yield every slot of every quantable operation with its config, in graph order."""
        for name in list(self._operations):
            for side, index, config in self._operations[name].config.slots():
                yield Slot(name, side, index), config

    def operation(self, name: str) -> QuantableOperation:
        """Return the present form of a quantable operation."""
        return self._operations[name]

    def config(self, slot: Slot) -> TensorQuantizationConfig:
        """Return the config of a slot."""
        config = self._operations[slot.operation].config
        return (config.inputs if slot.side == "in" else config.outputs)[slot.index]

    def where(self, slot: Slot) -> str:
        """Return the place of a slot, for messages."""
        return f"{self._operations[slot.operation].where()} {slot.side}{slot.index}"

    def holders(self, row: str) -> tuple[Slot, ...]:
        """Return every slot that refers to a row, in the order in which they came to it."""
        return tuple(self._holders.get(row, ()))

    def put(self, slot: Slot, config: TensorQuantizationConfig) -> None:
        """Set the config of a slot."""
        old = self.config(slot)
        if config == old:
            return
        if old.row != config.row:
            self._holders.get(old.row, {}).pop(slot, None)
            if config.row:
                self._holders.setdefault(config.row, {})[slot] = None
        self.journal.append(slot.operation)
        held = self._operations[slot.operation]
        self._operations[slot.operation] = held.with_slot(slot.side, slot.index, config)

    def overlap(self, slot: Slot, row: str) -> None:
        """Leave the quantization of a slot's tensor to the owner of `row`.

        Whatever referred to a row that the slot owned refers to `row` from now on.
        """
        self._release(slot, row)
        self.put(slot, self.config(slot).overlapped_by(row, self.where(slot)))

    def share(self, slot: Slot, row: str) -> None:
        """Make a slot quantize with the row of another one."""
        self._release(slot, row)
        self.put(slot, self.config(slot).sharing(self.rows[row], self.where(slot)))

    def hand_over(self, slot: Slot) -> None:
        """Make another slot that quantizes with the row of `slot`, if there is one, its owner."""
        row = self.config(slot).row
        for other in self.holders(row):
            config = self.config(other)
            if other == slot or config.relation is not Relation.SHARED:
                continue
            where = self.where(other)
            owner = replace(config.moved(State.INITIAL, where), relation=Relation.OWN)
            is_filled = self.rows[row].is_filled
            self.put(other, owner.moved(State.ACTIVATED, where) if is_filled else owner)
            self.put(slot, self.config(slot).sharing(self.rows[row], self.where(slot)))
            return

    def _release(self, slot: Slot, successor: str) -> None:
        config = self.config(slot)
        if config.relation is not Relation.OWN or config.row == successor:
            return
        for other in self.holders(config.row):
            if other != slot:
                self._follow(other, successor)
        for row in [row for row in self.rows.values() if config.row in row.derived_from]:
            self._derive_anew(row, config.row, successor)
        del self.rows[config.row]

    def _follow(self, slot: Slot, row: str) -> None:
        config = self.config(slot)
        if config.relation is Relation.SHARED:
            self.put(slot, config.sharing(self.rows[row], self.where(slot)))
        else:
            self.put(slot, replace(config, row=row))

    def _derive_anew(self, row: QuantizationParameters, old: str, new: str) -> None:
        sources = tuple(new if name == old else name for name in row.derived_from)
        self.rows[row.id] = replace(row.cleared(), derived_from=sources)
        for slot in self.holders(row.id):
            self.put(slot, self.config(slot).moved(State.PASSIVE_INIT, self.where(slot)))

    def finish(self) -> Graph:
        """Return the edited graph; the same object where nothing changed."""
        changed = [
            op for name, op in self._operations.items()
            if op is not self.graph.operation_by_name[name]
        ]  # fmt: skip
        if not changed and self.rows == dict(self.graph.rows):
            return self.graph
        return replace(self.graph.with_operations(changed), rows=self.rows)
