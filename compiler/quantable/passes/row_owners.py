"""Rows whose owner is gone: another slot that refers to the row becomes the owner."""

from __future__ import annotations

from dataclasses import replace

from quantable.ir import (
    Graph,
    QuantableOperation,
    QuantizationParameters,
    Relation,
    State,
    TensorQuantizationConfig,
)

_OWNING = (Relation.OWN, Relation.DERIVED)


def with_owned_rows(graph: Graph) -> Graph:
    """Return a quantable graph, of which operations were taken away, with its rows put right.

    The first slot that refers to a row without an owner owns it from now on. Quantizing again what
    is on the row's grid already changes nothing, so an overlapped slot may become one that is in
    force. Rows that nothing refers to are dropped.
    """
    slots = [entry for op in graph.quantable_operations for entry in _slots(op)]
    owned = {config.row for _, _, _, config in slots if config.relation in _OWNING}
    changed = {op.name: op for op in graph.quantable_operations}
    kept = set(owned)
    for name, side, index, config in slots:
        if config.row and config.row not in kept:
            kept.add(config.row)
            owner = _owning(config, graph.rows[config.row])
            changed[name] = changed[name].with_slot(side, index, owner)
    for row in graph.rows.values():
        kept |= set(row.derived_from) if row.id in kept else set()
    rows = {name: row for name, row in graph.rows.items() if name in kept}
    return replace(graph.with_operations(changed.values()), rows=rows)


def _slots(op: QuantableOperation) -> list[tuple[str, str, int, TensorQuantizationConfig]]:
    return [(op.name, side, index, config) for side, index, config in op.config.slots()]


def _owning(
    config: TensorQuantizationConfig, row: QuantizationParameters
) -> TensorQuantizationConfig:
    """Return the config of a slot that becomes the owner of its row."""
    held = config.suspended or config.state
    state = State.ACTIVATED if row.is_filled else State.INITIAL
    if held.is_baked:
        state = State.BAKED
    if config.suspended is not None:
        return replace(config, suspended=state, relation=Relation.OWN)
    return replace(config, state=state, relation=Relation.OWN)
