"""Which operation of one graph is which of the other.

In this order, each step on what the ones before left over (the order of XLA's `hlo_diff`
matchers, but for names: they decide only where structure does not, since two graphs that differ
by names alone are the same):

1. the same Merkle fingerprint with everything, above and below;
2. the same name, kind and provenance;
3. the same fingerprint above: it computes the same value;
4. the same Merkle fingerprint below;
5. the same provenance and kind, then the same name and kind;
6. the same fingerprint without quantization, then without contents, then of kinds alone;
7. the same kind, and neighbours that are matched.

Where several have the same fingerprint, the one whose neighbours are matched is taken, then the one
of the same name, then the first.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cached_property

from quantable.ir.diff.fingerprints import (
    Detail,
    Fingerprints,
    Interner,
    Slot,
    row_owners,
    slots_of,
)
from quantable.ir.graph import Graph
from quantable.ir.operation import Operation

Source = tuple[str, int, int]
"""Where a value comes from: ('input', position, 0), ('operation', index, output slot),
('parameter', 0, 0) or ('absent', 0, 0)."""


class Side:
    """A graph with what matching asks of it, by position of the operation."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.operations = graph.operations
        self.sources: dict[str, Source] = {"": ("absent", 0, 0)}
        self.sources |= dict.fromkeys(graph.parameters, ("parameter", 0, 0))
        self.sources |= {name: ("input", index, 0) for index, name in enumerate(graph.inputs)}
        for index, op in enumerate(graph.operations):
            self.sources |= {
                out: ("operation", index, slot) for slot, out in enumerate(op.outputs) if out
            }
        self.owners = row_owners(graph.operations)
        self.index = {op.name: index for index, op in enumerate(graph.operations)}

    def source(self, value: str) -> Source:
        """Return where a value comes from; one that nothing makes counts as absent."""
        return self.sources.get(value, ("absent", 0, 0))

    def operands(self, index: int) -> tuple[Source, ...]:
        return tuple(self.source(name) for name in self.operations[index].inputs)

    @cached_property
    def readers(self) -> list[list[tuple[int, int, int]]]:
        """(output slot, index of the reader, its input slot) of each operation's readers."""
        found: list[list[tuple[int, int, int]]] = [[] for _ in self.operations]
        for index in range(len(self.operations)):
            for slot, (kind, maker, out) in enumerate(self.operands(index)):
                if kind == "operation":
                    found[maker].append((out, index, slot))
        return found


class Matching:
    """The pairs of operations, by position.

    Attributes:
        a, b: The two graphs.
        to_b, to_a: The counterpart of each matched operation.
        exact_a, exact_b: Fingerprints of everything.
    """

    def __init__(self, a: Graph, b: Graph) -> None:
        self.a, self.b = Side(a), Side(b)
        self.to_b: dict[int, int] = {}
        self.to_a: dict[int, int] = {}
        self._interner = Interner()
        self.exact_a, self.exact_b = self._fingerprints(Detail.EXACT)
        self._match()

    def pairs(self) -> list[tuple[int, int]]:
        """Return the pairs in the order of the first graph."""
        return sorted(self.to_b.items())

    def only_a(self) -> list[int]:
        return [index for index in range(len(self.a.operations)) if index not in self.to_b]

    def only_b(self) -> list[int]:
        return [index for index in range(len(self.b.operations)) if index not in self.to_a]

    def mapped(self, source: Source) -> Source | None:
        """Return the counterpart in the second graph of where a value comes from."""
        kind, index, slot = source
        if kind != "operation":
            return source
        partner = self.to_b.get(index)
        return None if partner is None else (kind, partner, slot)

    def _fingerprints(self, detail: Detail) -> tuple[Fingerprints, Fingerprints]:
        return (
            Fingerprints(self.a.graph, detail, self._interner),
            Fingerprints(self.b.graph, detail, self._interner),
        )

    def _match(self) -> None:
        exact = self.exact_a, self.exact_b
        self._by(exact[0].refined, exact[1].refined)
        self._by(exact[0].both, exact[1].both)
        self._by_key(lambda op: (op.name, op.kind, op.sources) if op.sources else None)
        self._by(exact[0].up, exact[1].up)
        self._by(exact[0].down, exact[1].down)
        self._by_key(lambda op: (op.kind, op.sources) if op.sources else None, is_unique=True)
        self._by_key(lambda op: (op.name, op.kind))
        for detail in (Detail.UNQUANTIZED, Detail.TYPED, Detail.KIND):
            if not self.only_a() or not self.only_b():
                return
            a, b = self._fingerprints(detail)
            self._by(a.refined, b.refined)
            self._by(a.both, b.both)
        while self._by_neighbours():
            pass

    def _pair(self, a: int, b: int) -> None:
        """Pair two operations, if both are free."""
        if a not in self.to_b and b not in self.to_a:
            self.to_b[a], self.to_a[b] = b, a

    def _by_key(self, key: Callable[[Operation], Hashable], *, is_unique: bool = False) -> None:
        left, right = ([key(op) for op in side.operations] for side in (self.a, self.b))
        self._by(left, right, is_unique=is_unique)

    def _by(
        self, left: Sequence[Hashable], right: Sequence[Hashable], *, is_unique: bool = False
    ) -> None:
        """Pair operations of equal keys; None is no key.

        Bucket by bucket, in the order of the first graph: when one is dealt with, the operands of
        its members have their counterparts. In a bucket the likest pair comes first.
        """
        theirs = _buckets(right, self.only_b())
        for key, mine in _buckets(left, self.only_a()).items():
            others = theirs.get(key, {})
            if not others or (is_unique and len(mine) + len(others) > 2):
                continue
            scored = [(self._likeness(a, b), -a, -b) for a in mine for b in others]
            for likeness, a, b in sorted(scored, reverse=True):
                # One of several needs something that says which.
                if len(mine) == len(others) or any(likeness):
                    self._pair(-a, -b)

    def _likeness(self, a: int, b: int) -> tuple[int, int, int]:
        """Return how many neighbours agree, and whether name and provenance do."""
        one, other = self.a.operations[a], self.b.operations[b]
        has_sources = one.sources == other.sources and bool(one.sources)
        return self._agreement(a, b), int(one.name == other.name), int(has_sources)

    def _agreement(self, a: int, b: int) -> int:
        """Return the number of operands, readers and owners of rows that are counterparts."""
        operands = sum(
            left[0] in ("operation", "input") and self.mapped(left) == right
            for left, right in zip(self.a.operands(a), self.b.operands(b), strict=False)
        )
        owners = sum(
            self._mapped_owner(left[2].row) == self.b.owners.get(right[2].row, ())
            for left, right in zip(
                slots_of(self.a.operations[a]), slots_of(self.b.operations[b]), strict=False
            )
        )
        readers = set(self.b.readers[b])
        return (
            operands
            + owners
            + sum(
                (out, self.to_b.get(reader, -1), slot) in readers
                for out, reader, slot in self.a.readers[a]
            )
        )

    def _mapped_owner(self, row: str) -> Slot | None:
        owner = self.a.owners.get(row)
        if owner is None or owner[0] not in self.to_b:
            return None
        return self.to_b[owner[0]], owner[1], owner[2]

    def _by_neighbours(self) -> bool:
        """Pair operations of one kind that agree best with their neighbours; whether any did."""
        free = _buckets([op.kind for op in self.b.operations], self.only_b())
        scored = [
            (-self._agreement(a, b), a, b)
            for a in self.only_a()
            for b in free.get(self.a.operations[a].kind, ())
        ]
        before = len(self.to_b)
        for score, a, b in sorted(scored):
            if score < 0:
                self._pair(a, b)
        return len(self.to_b) > before


def _buckets(keys: Sequence[Hashable], chosen: Iterable[int]) -> dict[Hashable, dict[int, None]]:
    found: dict[Hashable, dict[int, None]] = {}
    for index in chosen:
        if keys[index] is not None:
            found.setdefault(keys[index], {})[index] = None
    return found
