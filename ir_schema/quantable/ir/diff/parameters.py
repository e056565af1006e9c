"""Contents that changed, and by how much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from quantable.ir import floats, numerics
from quantable.ir.contents import ContentRef
from quantable.ir.diff.changes import ParameterChange
from quantable.ir.diff.matching import Matching
from quantable.ir.diff.measure import Measure
from quantable.ir.dtypes import DType
from quantable.ir.graph import Graph
from quantable.ir.operation import Operation, QuantableOperation

Reals = npt.NDArray[np.generic]
_CHUNK = 1 << 16
_NO_CONTENTS = "-"


@dataclass
class _Entry:
    """What is known of one pair of contents."""

    name: str
    before: ContentRef | None
    after: ContentRef | None
    readers: list[str] = field(default_factory=list)
    forms: list[str] = field(default_factory=list)


def parameter_changes(
    matching: Matching, requantized: set[tuple[int, int]]
) -> Iterator[ParameterChange]:
    """Yield one entry for every pair of contents that differ, in the order of the first graph.

    Args:
        matching: The two graphs.
        requantized: (position, input slot) whose config or row changed: integers that the new row
            gives for contents that are the same are no change of their own.
    """
    entries: dict[tuple[ContentRef | None, ContentRef | None], _Entry] = {}
    for a, b in matching.pairs():
        one, other = matching.a.operations[a], matching.b.operations[b]
        for slot, (left, right) in enumerate(zip(one.inputs, other.inputs, strict=False)):
            for form, before, after in _contents(matching, one, other, slot):
                name = left if left == right else f"{left} -> {right}"
                entry = entries.setdefault((before, after), _Entry(name, before, after))
                entry.forms += [form] if form not in entry.forms else []
                reader = f"{one.name} in{slot}"
                entry.readers += [reader] if reader not in entry.readers else []
        yield from _baked(matching, a, b, requantized)
    a_graph, b_graph = matching.a.graph, matching.b.graph
    for entry in entries.values():
        found = ParameterChange(
            entry.name, tuple(entry.readers), tuple(entry.forms), _type(entry.before),
            _type(entry.after),
        )  # fmt: skip
        yield _measured(
            found, _array(a_graph, entry.before), _array(b_graph, entry.after)
        )  # fmt: skip


def _contents(
    matching: Matching, one: Operation, other: Operation, slot: int
) -> Iterator[tuple[str, ContentRef | None, ContentRef | None]]:
    left = matching.a.graph.parameters.get(one.inputs[slot])
    right = matching.b.graph.parameters.get(other.inputs[slot])
    if left is not None and right is not None and left != right:
        yield "current", left, right
    if isinstance(one, QuantableOperation) and isinstance(other, QuantableOperation):
        originals = one.original(slot), other.original(slot)
        if originals[0] != originals[1]:
            yield "original", *originals


def _baked(
    matching: Matching, a: int, b: int, requantized: set[tuple[int, int]]
) -> Iterator[ParameterChange]:
    """Yield stored integers that differ and do not follow from another change that is reported."""
    one, other = matching.a.operations[a], matching.b.operations[b]
    if not isinstance(one, QuantableOperation) or not isinstance(other, QuantableOperation):
        return
    for slot in range(min(len(one.inputs), len(other.inputs))):
        before, after = one.baked_parameter(slot), other.baked_parameter(slot)
        if before is None or after is None or before.content == after.content:
            continue
        left = matching.a.graph.parameters.get(one.inputs[slot])
        right = matching.b.graph.parameters.get(other.inputs[slot])
        if ((a, slot) in requantized or left != right) and _follows(matching.b.graph, other, slot):
            continue
        reals = tuple(
            _real(graph, op, slot)
            for graph, op in ((matching.a.graph, one), (matching.b.graph, other))
        )
        names = one.inputs[slot], other.inputs[slot]
        name = names[0] if names[0] == names[1] else " -> ".join(names)
        types = _type(before.content), _type(after.content)
        change = ParameterChange(name, (f"{one.name} in{slot}",), ("baked",), *types)
        yield _measured(change, *reals)


def _follows(graph: Graph, op: QuantableOperation, slot: int) -> bool:
    """Whether stored integers are what their row gives for the present contents."""
    stored, config = op.baked_parameter(slot), op.config.inputs[slot]
    row, ref = graph.rows.get(config.row), graph.parameters.get(op.inputs[slot])
    if stored is None or row is None or ref is None or not row.is_filled:
        return False
    values = np.asarray(graph.store.get(ref), np.float32)
    if values.shape != stored.content.shape:
        return False
    return bool(
        np.array_equal(numerics.quantize(values, config, row), graph.store.get(stored.content))
    )


def _real(graph: Graph, op: QuantableOperation, slot: int) -> Reals | None:
    """Return the numbers that stored integers stand for; None where no row says it."""
    stored, config = op.baked_parameter(slot), op.config.inputs[slot]
    row = graph.rows.get(config.row)
    if stored is None or row is None or not row.is_filled:
        return None
    return numerics.dequantize(graph.store.get(stored.content), config, row)


def _array(graph: Graph, ref: ContentRef | None) -> Reals | None:
    if ref is None or ref.dtype is DType.STRING:
        return None
    array = graph.store.get(ref)
    if ref.dtype is DType.BFLOAT16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return floats.decode(array, ref.dtype) if floats.is_small_float(ref.dtype) else array


def _type(ref: ContentRef | None) -> str:
    if ref is None:
        return _NO_CONTENTS
    return f"{ref.dtype.value}[{', '.join(map(str, ref.shape))}]"


def _measured(
    change: ParameterChange, before: Reals | None, after: Reals | None
) -> ParameterChange:
    """Add the numbers, where both sides have elements that compare."""
    if before is None or after is None or before.shape != after.shape:
        return change
    measure = Measure()
    left, right = before.reshape(-1), after.reshape(-1)
    for start in range(0, left.size, _CHUNK):  # bounds the memory, and stays in the cache
        measure.add(left[start : start + _CHUNK], right[start : start + _CHUNK])
    return replace(
        change, elements=measure.elements, differing=measure.differing, max_abs=measure.max_abs,
        sqnr_db=measure.sqnr_db,
    )  # fmt: skip
