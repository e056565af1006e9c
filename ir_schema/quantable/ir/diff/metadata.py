"""Everything that is neither operation, quantization nor contents."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from quantable.ir.diff.changes import FieldChange
from quantable.ir.diff.matching import Matching
from quantable.ir.diff.quantization import Rows
from quantable.ir.graph import Graph, StageRecord
from quantable.ir.memory_plan import MemoryPlan, Stream


def metadata_changes(matching: Matching, replaced: set[int]) -> Iterator[FieldChange]:
    """Yield what changed of the graph itself.

    Args:
        matching: The two graphs.
        replaced: Positions of matched operations whose provenance a replacement explains.
    """
    a, b = matching.a.graph, matching.b.graph
    for name, left, right in (
        ("name", a.name, b.name), ("level", a.level.value, b.level.value),
        ("opset", str(a.opset), str(b.opset)), ("target", a.target or "-", b.target or "-"),
    ):  # fmt: skip
        if left != right:
            yield FieldChange(name, left, right)
    yield from _plan(matching)
    for key in sorted({*a.metadata, *b.metadata}):
        if a.metadata.get(key) != b.metadata.get(key):
            yield FieldChange(f"metadata {key}", *(g.metadata.get(key, "-") for g in (a, b)))
    yield from _provenance(matching, replaced)
    yield from _unused(a, b)
    yield from _history(a.history, b.history)


def _plan(matching: Matching) -> Iterator[FieldChange]:
    one, other = matching.a.graph.plan, matching.b.graph.plan
    if one is None or other is None:
        if one is not other:
            texts = ("-" if plan is None else f"{plan.arena_bytes} bytes" for plan in (one, other))
            yield FieldChange("memory plan", *texts)
        return
    if one.arena_bytes != other.arena_bytes:
        size = f"{other.arena_bytes - one.arena_bytes:+} bytes"
        yield FieldChange("arena bytes", str(one.arena_bytes), str(other.arena_bytes), size)
    if one.alignment != other.alignment:
        yield FieldChange("arena alignment", str(one.alignment), str(other.alignment))
    for left, right in _values(matching):
        offsets = one.offsets.get(left), other.offsets.get(right)
        if offsets[0] != offsets[1]:
            texts = ("-" if offset is None else str(offset) for offset in offsets)
            yield FieldChange(f"offset of {left}", *texts)
    if one.is_ordered != other.is_ordered:
        yield FieldChange("order of pixels", *(_order(plan) for plan in (one, other)))
    yield from _streams(matching)


def _order(plan: MemoryPlan) -> str:
    return "ascending" if plan.is_ordered else "any"


def _streams(matching: Matching) -> Iterator[FieldChange]:
    """Yield streams that came, went or run otherwise; they are known by their first operation."""
    names = {
        matching.b.operations[other].name: matching.a.operations[one].name
        for one, other in matching.pairs()
    }
    values = {right: left for left, right in _values(matching)}
    left, right = ({s.operations[0]: s for s in m.graph.plan.streams if s.operations}
                   if m.graph.plan else {} for m in (matching.a, matching.b))  # fmt: skip
    renamed = {names.get(first, first): stream for first, stream in right.items()}
    for first in dict.fromkeys((*left, *renamed)):
        texts = (_stream(left.get(first), {}, {}), _stream(renamed.get(first), names, values))
        if texts[0] != texts[1]:
            yield FieldChange(f"stream of {first}", *texts)


def _stream(stream: Stream | None, names: Mapping[str, str], values: Mapping[str, str]) -> str:
    if stream is None:
        return "-"
    rings = sorted((values.get(n, n), ring) for n, ring in stream.rings.items())
    kept = ", ".join(f"{n} {ring.rows}+{ring.phase}" for n, ring in rings)
    operations = ", ".join(names.get(name, name) for name in stream.operations)
    return f"{operations}: {stream.rows} rows, keeps {kept or 'nothing'}"


def _values(matching: Matching) -> Iterator[tuple[str, str]]:
    """Yield the pairs of values: inputs of the graph, and outputs of matched operations."""
    a, b = matching.a, matching.b
    yield from zip(a.graph.inputs, b.graph.inputs, strict=False)
    for one, other in matching.pairs():
        outputs = a.operations[one].outputs, b.operations[other].outputs
        yield from ((x, y) for x, y in zip(*outputs, strict=False) if x and y)


def _provenance(matching: Matching, replaced: set[int]) -> Iterator[FieldChange]:
    """Yield sources of operations and provenance of rows whose numbers are as they were."""
    left, right = Rows(matching.a), Rows(matching.b)
    for a, b in matching.pairs():
        one, other = matching.a.operations[a], matching.b.operations[b]
        if one.sources != other.sources and a not in replaced:
            names = (", ".join(op.sources) or "-" for op in (one, other))
            yield FieldChange(f"sources of {one.name}", *names)
    partners = {slot: name for name, slot in right.owner.items()}
    for name, (index, side, slot) in left.owner.items():
        partner = partners.get((matching.to_b.get(index, -1), side, slot))
        before, after = left.rows.get(name), right.rows.get(partner or "")
        if before is None or after is None:
            continue
        is_derived = bool(before.derived_from and after.derived_from)
        numbers = [(row.scale, row.zero_point) for row in (before, after)]
        # What a derived row says of itself names other rows, and names are no difference.
        texts = [
            r.provenance.split(":")[0] if is_derived else r.provenance for r in (before, after)
        ]
        if numbers[0] == numbers[1] and texts[0] != texts[1]:
            place = f"{matching.a.operations[index].name} {side}{slot}"
            yield FieldChange(f"provenance of {place}", *(text or "-" for text in texts))


def _unused(a: Graph, b: Graph) -> Iterator[FieldChange]:
    """Yield values, parameters and rows that nothing uses, in one graph and not in the other."""
    left, right = _unused_of(a), _unused_of(b)
    for what in sorted({*left, *right}):
        if left[what] != right[what]:
            yield FieldChange(f"unused {what}", str(left[what]), str(right[what]))


def _unused_of(graph: Graph) -> Counter[str]:
    named = {*graph.inputs, *graph.outputs}
    named |= {name for op in graph.operations for name in (*op.inputs, *op.outputs)}
    rows = {c.row for op in graph.quantable_operations for _, _, c in op.config.slots()}
    found: Counter[str] = Counter()
    for name, value in graph.values.items():
        if name not in named:
            ref = graph.parameters.get(name)
            word = "value" if ref is None else f"parameter sha256:{ref.digest[:12]}"
            shape = "*" if value.shape is None else ", ".join(map(str, value.shape))
            found[f"{word} {value.dtype.value}[{shape}]"] += 1
    for name, row in graph.rows.items():
        if name not in rows:
            found[f"row with {len(row.scale)} scales"] += 1
    return found


def _history(
    before: tuple[StageRecord, ...], after: tuple[StageRecord, ...]
) -> Iterator[FieldChange]:
    common = 0
    for one, other in zip(before, after, strict=False):
        if replace(one, decisions=()) != replace(other, decisions=()):
            break
        common += 1
        yield from _decisions(common, one, other)
    if before[common:] or after[common:]:
        texts = (
            ", ".join(f"{record.name}{record.options}" for record in history[common:]) or "-"
            for history in (before, after)
        )
        yield FieldChange(f"history after {common} stages", *texts)


def _decisions(number: int, before: StageRecord, after: StageRecord) -> Iterator[FieldChange]:
    """Yield what differs between the decisions of one stage, by their places in the record."""
    pairs = itertools.zip_longest(before.decisions, after.decisions)
    for place, (one, other) in enumerate(pairs, start=1):
        if one != other:
            texts = ("-" if decision is None else decision.summary for decision in (one, other))
            yield FieldChange(f"decision {place} of stage {number} '{before.name}'", *texts)
