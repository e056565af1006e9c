"""Rewrites, counted: a pass can be stopped after so many of them.

Every pass asks one counter for each thing that it does: a fold, a merge, an alignment, a slot that
is filled, an operation that is lowered. Two forms serve all of them: `Rewrites.over` walks the
items of a pass that edits as it goes, and counts those in which something was edited;
`Rewrites.admit` is asked for one rewrite by passes that collect their results. Whatever a pass did
before it stopped must stand on its own: the graph is valid at every limit.

Below the limit the numbers are stable: a run that stops after N does exactly the first N rewrites
of the run that does not stop.
See: LLVM's -opt-bisect-limit and MLIR's debug counters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Journal(Protocol):
    """What an editor offers: the names of the operations it touched, in order, repeats included."""

    @property
    def journal(self) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One rewrite.

    Attributes:
        number: From 1.
        operations: Names of the operations that it touched, made or removed.
    """

    number: int
    operations: tuple[str, ...]


class Rewrites:
    """The counter.

    Args:
        limit: How many rewrites may happen; None for any number.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.done: list[Rewrite] = []

    @property
    def is_exhausted(self) -> bool:
        """Whether no further rewrite may happen."""
        return self.limit is not None and len(self.done) >= self.limit

    def admit(self, *operations: str) -> bool:
        """Count one rewrite that is about to happen.

        Args:
            operations: Names of the operations that it touches.

        Returns:
            Whether it may happen.
        """
        if self.is_exhausted:
            return False
        self.done.append(Rewrite(len(self.done) + 1, tuple(dict.fromkeys(operations))))
        return True

    def over(self, editor: Journal, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items until the limit is reached; one in which something is edited counts.

        Args:
            editor: What the pass edits while it looks at an item.
            items: What the pass looks at; may be lazy.
        """
        for item in items:
            if self.is_exhausted:
                return
            before = len(editor.journal)
            yield item
            if len(editor.journal) > before:
                self.admit(*editor.journal[before:])
