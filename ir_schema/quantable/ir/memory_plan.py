"""Where activations live at the planned level, and which operations run in turns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Ring:
    """The rows of a value that are kept while a stream runs; row r lies in `place(r)`.

    Attributes:
        rows: How many.
        phase: What is added to the number of a row before it is taken modulo `rows`.
    """

    rows: int
    phase: int = 0

    def place(self, row: int) -> int:
        """Return which of the rows of the ring a row of the value lies in."""
        return (row + self.phase) % self.rows


@dataclass(frozen=True, slots=True)
class Stream:
    """Operations that run in turns, each time as many rows as those behind them ask for.

    Before an operation makes rows, all operations of the stream that it reads make the rows that
    its window needs. `quantable.ir.streaming` defines the order.

    Attributes:
        operations: Names of consecutive operations.
        rows: Rows of the last operation that a turn makes.
        rings: By name, the values of which only some rows are kept; nobody outside reads them.
    """

    operations: tuple[str, ...]
    rows: int
    rings: Mapping[str, Ring]


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Where activations live at the planned level.

    Attributes:
        arena_bytes: Exact size of the arena.
        alignment: Alignment of the arena and of every offset, in bytes.
        offsets: Byte offset in the arena by value name.
        is_ordered: Whether the plan counts on kernels that make the pixels of windows one after the
            other, so that what only earlier pixels read may be overwritten.
        streams: What runs in turns, in the order of the graph.
    """

    arena_bytes: int
    alignment: int
    offsets: Mapping[str, int]
    is_ordered: bool = field(default=False, metadata={"added_later": True})
    streams: tuple[Stream, ...] = field(default=(), metadata={"added_later": True})
