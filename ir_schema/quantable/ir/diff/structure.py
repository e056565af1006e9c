"""Operations added, removed, replaced and rewired."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from quantable.ir.diff.changes import FieldChange, OperationChange, OperationRef, Replacement
from quantable.ir.diff.matching import Matching, Side, Source

Node = tuple[str, int]
"""('a', position), ('b', position), or ('pair', position in the first graph)."""


def pair_ref(matching: Matching, a: int, b: int) -> OperationRef:
    """Return how messages name a matched operation."""
    one, other = matching.a.operations[a], matching.b.operations[b]
    name = one.name if one.name == other.name else f"{one.name} -> {other.name}"
    kind = one.kind if one.kind == other.kind else f"{one.kind} -> {other.kind}"
    return OperationRef(name, kind, a)


def single_ref(side: Side, index: int) -> OperationRef:
    op = side.operations[index]
    return OperationRef(op.name, op.kind, index)


def replacements(
    matching: Matching,
) -> tuple[list[Replacement], list[int], list[int], set[int]]:
    """Group unmatched operations by provenance.

    Returns:
        Replacements; positions of removed ones in the first graph and of added ones in the second;
        positions in the first graph of matched ones that took part in a replacement.
    """
    groups = _Groups()
    for a in matching.only_a():
        groups.add(("a", a))
    for b in matching.only_b():
        groups.add(("b", b))
    for one, other in _related(matching):
        groups.join(one, other)
    found, removed, added, changed = [], [], [], set()
    for members in groups.all():
        pairs = [index for kind, index in members if kind == "pair"]
        only_a = [index for kind, index in members if kind == "a"]
        only_b = [index for kind, index in members if kind == "b"]
        if (only_a or pairs) and (only_b or pairs):
            found.append(_replacement(matching, only_a, only_b, pairs))
            changed.update(pairs)
        else:
            removed += only_a
            added += only_b
    found.sort(key=lambda entry: entry.before[0].position)
    return found, sorted(removed), sorted(added), changed


def _replacement(
    matching: Matching, only_a: list[int], only_b: list[int], pairs: list[int]
) -> Replacement:
    before = tuple(single_ref(matching.a, i) for i in sorted([*only_a, *pairs]))
    partners = sorted([*only_b, *(matching.to_b[i] for i in pairs)])
    after = tuple(single_ref(matching.b, i) for i in partners)
    names = [n for ref in before for n in matching.a.operations[ref.position].sources]
    names += [n for ref in after for n in matching.b.operations[ref.position].sources]
    return Replacement(before, after, tuple(dict.fromkeys(names)))


def _related(matching: Matching) -> Iterator[tuple[Node, Node]]:
    """Yield what belongs together: by provenance, by name, or by wires on every side."""
    by_source: dict[str, list[Node]] = {}
    by_name: dict[str, int] = {}
    for a in matching.only_a():
        by_name[matching.a.operations[a].name] = a
        for name in matching.a.operations[a].sources:
            by_source.setdefault(name, []).append(("a", a))
    for b in matching.only_b():
        op = matching.b.operations[b]
        if op.name in by_name:
            yield ("a", by_name[op.name]), ("b", b)
        for name in op.sources:
            by_source.setdefault(name, []).append(("b", b))
    for a, b in matching.pairs():
        before = set(matching.a.operations[a].sources)
        after = set(matching.b.operations[b].sources)
        for name in sorted(before ^ after):
            wanted = "a" if name in after else "b"
            for node in by_source.get(name, ()):
                if node[0] == wanted:
                    yield ("pair", a), node
    for nodes in by_source.values():
        for node in nodes[1:]:
            yield nodes[0], node
    yield from _same_place(matching)


def _same_place(matching: Matching) -> Iterator[tuple[Node, Node]]:
    """Yield unmatched operations that read the same, and are read by the same."""
    places: dict[tuple[object, ...], list[int]] = {}
    for b in matching.only_b():
        readers = tuple(sorted(matching.b.readers[b]))
        if readers:
            places.setdefault((matching.b.operands(b), readers), []).append(b)
    for a in matching.only_a():
        operands = tuple(matching.mapped(source) for source in matching.a.operands(a))
        readers = tuple(
            sorted((out, matching.to_b.get(r, -1), slot) for out, r, slot in matching.a.readers[a])
        )
        for b in places.get((operands, readers), ())[:1]:
            yield ("a", a), ("b", b)


class _Groups:
    """Connected components (union by the first member, paths halved)."""

    def __init__(self) -> None:
        self._parent: dict[Node, Node] = {}

    def add(self, node: Node) -> None:
        self._parent.setdefault(node, node)

    def root(self, node: Node) -> Node:
        self.add(node)
        while self._parent[node] != node:
            self._parent[node] = self._parent[self._parent[node]]
            node = self._parent[node]
        return node

    def join(self, one: Node, other: Node) -> None:
        self._parent[self.root(other)] = self.root(one)

    def all(self) -> list[list[Node]]:
        found: dict[Node, list[Node]] = {}
        for node in sorted(self._parent):
            found.setdefault(self.root(node), []).append(node)
        return list(found.values())


class Wires:
    """Compares what matched operations, and the graph's outputs, read."""

    def __init__(self, matching: Matching) -> None:
        self._matching = matching
        self._parameters: dict[str, str] = {}
        self._back: dict[str, str] = {}

    def changes(self) -> Iterator[OperationChange]:
        """Yield one entry for every operation that reads something else."""
        m = self._matching
        for a, b in m.pairs():
            one, other = m.a.operations[a], m.b.operations[b]
            fields = self._fields("in", one.inputs, other.inputs)
            if fields:
                yield OperationChange(pair_ref(m, a, b), "", fields)
        fields = self._fields("output ", m.a.graph.outputs, m.b.graph.outputs)
        if fields:
            yield OperationChange(OperationRef("graph", "", len(m.a.operations)), "", fields)

    def _fields(
        self, word: str, before: Sequence[str], after: Sequence[str]
    ) -> tuple[FieldChange, ...]:
        longest = max(len(before), len(after))
        padded = zip(
            [*before, *[""] * (longest - len(before))],
            [*after, *[""] * (longest - len(after))],
            strict=True,
        )
        found = []
        for slot, (left, right) in enumerate(padded):
            texts = self._compared(left, right)
            if texts is not None:
                found.append(FieldChange(f"{word}{slot}", *texts))
        return tuple(found)

    def _compared(self, left: str, right: str) -> tuple[str, str] | None:
        m = self._matching
        source, found = m.a.source(left), m.b.source(right)
        if source[0] == found[0] == "parameter":
            return self._shared(left, right)
        if m.mapped(source) == found or self._computes_same(source, found):
            return None
        if self._passes_through(source, found):
            return None
        return _described(m.a, left), _described(m.b, right)

    def _shared(self, left: str, right: str) -> tuple[str, str] | None:
        """Parameters are told apart by their contents; here counts only who shares one."""
        was = self._parameters.setdefault(left, right)
        had = self._back.setdefault(right, left)
        if was == right and had == left:
            return None
        return f"parameter {left}", f"parameter {right}"

    def _computes_same(self, source: Source, found: Source) -> bool:
        """Whether two values differ only in which of several equal computations made them."""
        m = self._matching
        expected = m.mapped(source)
        if expected is None or expected[0] != "operation" or found[0] != "operation":
            return False
        partner = m.to_a.get(found[1])
        return (
            partner is not None
            and expected[2] == found[2]
            and m.exact_b.up[expected[1]] == m.exact_b.up[found[1]]
            and m.exact_a.up[partner] == m.exact_a.up[source[1]]
        )

    def _passes_through(self, source: Source, found: Source) -> bool:
        """Whether the wire changed only because operations on it came or went."""
        m = self._matching
        is_new = found[0] == "operation" and found[1] not in m.to_a
        is_gone = source[0] == "operation" and source[1] not in m.to_b
        if not is_new and not is_gone:
            return False
        before = {m.mapped(end) for end in _ends(m.a, source, m.to_b)}
        after: set[Source | None] = set(_ends(m.b, found, m.to_a))
        return before == after or not before.isdisjoint(after - {("parameter", 0, 0)})


def _ends(side: Side, source: Source, matched: dict[int, int]) -> set[Source]:
    """Return the matched values that a value is made from, through unmatched operations."""
    found: set[Source] = set()
    seen: set[int] = set()
    pending = [source]
    while pending:
        kind, index, slot = pending.pop()
        if kind != "operation" or index in matched:
            found.add((kind, index, slot))
        elif index not in seen:
            seen.add(index)
            pending += [s for s in side.operands(index) if s[0] != "absent"]
    return found


def _described(side: Side, value: str) -> str:
    kind, index, slot = side.source(value)
    if kind == "operation":
        op = side.operations[index]
        return f"{op.name} ({op.kind}) out{slot}"
    return f"{kind} {value}" if value else "nothing"
