"""Counts operations by kind around every pass."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from quantable.ir import Graph, graph_digest
from quantable.passes.instruments.instrument import Instrument, Step


@dataclass(frozen=True, slots=True)
class Effect:
    """What one pass did to the numbers.

    Attributes:
        name: The pass with its options.
        before, after: Number of operations.
        is_changed: Whether the graph is another, by its digest.
        kinds: (kind, before, after) of the kinds whose number changed, by name.
    """

    name: str
    before: int
    after: int
    is_changed: bool
    kinds: tuple[tuple[str, int, int], ...]

    def __str__(self) -> str:
        changes = ", ".join(f"{kind} {old} -> {new}" for kind, old, new in self.kinds)
        state = "changed" if self.is_changed else "unchanged"
        return f"{self.name}: {self.before} -> {self.after} operations, {state}" + (
            f": {changes}" if changes else ""
        )


class Statistics(Instrument):
    """Collects an `Effect` a pass."""

    name: ClassVar[str] = "statistics"

    def __init__(self) -> None:
        self.effects: list[Effect] = []

    def after(self, step: Step, result: Graph) -> None:
        """Count."""
        given = step.graph
        before = Counter(op.kind for op in given.operations)
        after = Counter(op.kind for op in result.operations)
        kinds = tuple(
            (kind, before[kind], after[kind])
            for kind in sorted(before | after)
            if before[kind] != after[kind]
        )
        name = f"{step.item.name}{step.item.options()}"
        is_changed = graph_digest(given) != graph_digest(result)
        self.effects.append(
            Effect(name, len(given.operations), len(result.operations), is_changed, kinds)
        )
