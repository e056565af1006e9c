"""Configs and rows that changed: rows are known by the slot that owns them, not by their names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from quantable.ir.diff.changes import FieldChange, OperationChange
from quantable.ir.diff.fingerprints import Slot, slots_of
from quantable.ir.diff.matching import Matching, Side
from quantable.ir.diff.structure import pair_ref
from quantable.ir.graph import Graph
from quantable.ir.operation import Attribute, Operation, QuantableOperation
from quantable.ir.quantization import QuantizationParameters, Relation, TensorQuantizationConfig

INTEGER_ATTRIBUTES = (
    "scale", "zero_point", "x_zero_point", "y_zero_point", "a_zero_point", "b_zero_point",
    "multiplier", "a_multiplier", "b_multiplier", "clamp_min", "clamp_max", "fraction_bits",
)  # fmt: skip
"""Attributes of integer operations that say how numbers are quantized."""


def is_quantization(op: Operation, attribute: str) -> bool:
    """Whether an attribute is part of an integer operation's quantization."""
    return op.kind.startswith("int.") and attribute in INTEGER_ATTRIBUTES


class Rows:
    """Who owns each row of a graph."""

    def __init__(self, side: Side) -> None:
        self.rows = side.graph.rows
        self.owner = side.owners


@dataclass(frozen=True, slots=True)
class _Pair:
    """One slot in both graphs; a config is None where the operation is not quantable."""

    a: int
    b: int
    side: str
    index: int
    before: TensorQuantizationConfig | None
    after: TensorQuantizationConfig | None

    @property
    def slot(self) -> str:
        return f"{self.side}{self.index}"


class Quantization:
    """Compares the slots of matched operations."""

    def __init__(self, matching: Matching) -> None:
        self._matching = matching
        self._a, self._b = Rows(matching.a), Rows(matching.b)
        self._passes = ", ".join(new_passes(matching.a.graph, matching.b.graph))
        self._pairs = [pair for a, b in matching.pairs() for pair in self._slot_pairs(a, b)]
        self._reported = self._row_places()
        self._met: tuple[dict[str, str], dict[str, str]] = ({}, {})

    def changes(self) -> list[OperationChange]:
        """Return the entries, in the order of the first graph."""
        found: dict[tuple[int, str], OperationChange] = {}
        follows: dict[tuple[int, str], list[str]] = {}
        for pair in self._pairs:
            cause = self._cause(pair)
            fields = tuple(self._fields(pair, is_caused=cause is not None))
            if fields:
                change = self._change(pair, fields)
                found[pair.a, pair.slot] = change
            elif cause is not None:
                name = f"{self._matching.a.operations[pair.a].name} {pair.slot}"
                follows.setdefault(cause, []).append(name)
        for place, names in follows.items():
            if place in found:
                found[place] = replace(found[place], follows=tuple(names))
        return sorted([*found.values(), *self._of_operations()], key=_place)

    def changed_slots(self) -> set[tuple[int, int]]:
        """Return (position in the first graph, input slot) whose config or row is another."""
        return {
            (pair.a, pair.index)
            for pair in self._pairs
            if pair.side == "in" and (self._numbers_differ(pair) or list(_scheme(pair)))
        }

    def _slot_pairs(self, a: int, b: int) -> Iterator[_Pair]:
        before, after = (
            {(where, slot): config for where, slot, config in slots_of(op)}
            for op in (self._matching.a.operations[a], self._matching.b.operations[b])
        )
        for where, slot in sorted({*before, *after}):
            key = where, slot
            yield _Pair(a, b, where, slot, before.get(key), after.get(key))

    def _row_places(self) -> dict[tuple[str, str], tuple[int, str]]:
        """Return where each pair of rows is reported: at the owner, else where it is first met."""
        places: dict[tuple[str, str], tuple[int, str]] = {}
        owned: dict[tuple[str, str], tuple[int, str]] = {}
        for pair in self._pairs:
            key = _row_of(pair.before), _row_of(pair.after)
            places.setdefault(key, (pair.a, pair.slot))
            mine = self._a.owner.get(key[0]) == (pair.a, pair.side, pair.index)
            if mine and self._b.owner.get(key[1]) == (pair.b, pair.side, pair.index):
                owned[key] = pair.a, pair.slot
        return {**places, **owned}

    def _rows(
        self, pair: _Pair
    ) -> tuple[QuantizationParameters | None, QuantizationParameters | None]:
        return self._a.rows.get(_row_of(pair.before)), self._b.rows.get(_row_of(pair.after))

    def _numbers_differ(self, pair: _Pair) -> bool:
        left, right = self._rows(pair)
        return _numbers(left) != _numbers(right)

    def _fields(self, pair: _Pair, *, is_caused: bool) -> Iterator[FieldChange]:
        yield from _scheme(pair)
        sharing = self._holding(pair.before, self._a), self._holding(pair.after, self._b)
        is_shared_otherwise = not self._is_held_alike(pair, *sharing)
        if is_shared_otherwise:
            texts = (
                self._text(sharing[0], self._matching.a),
                self._text(sharing[1], self._matching.b),
            )
            yield FieldChange("sharing", *texts)
        left, right = self._rows(pair)
        if not self._is_derived_alike(left, right):
            yield FieldChange("derived from", _derivation(left), _derivation(right))
        place = self._reported[_row_of(pair.before), _row_of(pair.after)]
        if is_caused or (not is_shared_otherwise and place != (pair.a, pair.slot)):
            return
        yield from row_changes(left, right)

    def _holding(
        self, config: TensorQuantizationConfig | None, rows: Rows
    ) -> tuple[Relation, Slot | None]:
        if config is None:
            return Relation.NONE, None
        return config.relation, rows.owner.get(config.row)

    def _is_held_alike(
        self, pair: _Pair, before: tuple[Relation, Slot | None], after: tuple[Relation, Slot | None]
    ) -> bool:
        rows = _row_of(pair.before), _row_of(pair.after)
        return before[0] is after[0] and self._is_same_row(*rows)

    def _is_same_row(self, before: str, after: str) -> bool:
        """Whether the owners are counterparts; two without one are, if their rows always meet."""
        left, right = self._a.owner.get(before), self._b.owner.get(after)
        if left is None or right is None:
            return left is right
        if left[0] in self._matching.to_b or right[0] in self._matching.to_a:
            return self._mapped(left) == right
        met = self._met[0].setdefault(before, after), self._met[1].setdefault(after, before)
        return met == (after, before)

    def _is_derived_alike(
        self, before: QuantizationParameters | None, after: QuantizationParameters | None
    ) -> bool:
        names = [row.derived_from if row else () for row in (before, after)]
        pairs = zip(*names, strict=False)
        return len(names[0]) == len(names[1]) and all(self._is_same_row(*pair) for pair in pairs)

    def _mapped(self, slot: Slot | None) -> Slot | None:
        if slot is None:
            return None
        partner = self._matching.to_b.get(slot[0], -1)
        return partner, slot[1], slot[2]

    def _text(self, held: tuple[Relation, Slot | None], side: Side) -> str:
        relation, owner = held
        if owner is None or relation in (Relation.NONE, Relation.OWN, Relation.DERIVED):
            return relation.value
        word = {Relation.OVERLAPPED: "overlapped by", Relation.SHARED: "shared with"}[relation]
        return f"{word} {side.operations[owner[0]].name} {owner[1]}{owner[2]}"

    def _cause(self, pair: _Pair) -> tuple[int, str] | None:
        """Return where the row is reported that alone made this derived row another."""
        left, right = self._rows(pair)
        if left is None or right is None or not left.derived_from or not right.derived_from:
            return None
        if _numbers(left) == _numbers(right) or left.zero_point != right.zero_point:
            return None
        if not (_is_product(left, self._a) and _is_product(right, self._b)):
            return None
        for one, other in zip(left.derived_from, right.derived_from, strict=False):
            if _numbers(self._a.rows.get(one)) != _numbers(self._b.rows.get(other)):
                return self._reported.get((one, other))
        return None

    def _change(self, pair: _Pair, fields: tuple[FieldChange, ...]) -> OperationChange:
        by = self._passes
        row = self._rows(pair)[1]
        is_made_anew = any(change.name in ("scale", "zero point") for change in fields)
        if row is not None and row.provenance and is_made_anew:
            by = row.provenance
        return OperationChange(pair_ref(self._matching, pair.a, pair.b), pair.slot, fields, by)

    def _of_operations(self) -> Iterator[OperationChange]:
        """Platforms, and the attributes of integer operations."""
        for a, b in self._matching.pairs():
            one, other = self._matching.a.operations[a], self._matching.b.operations[b]
            fields = []
            kinds = ("yes" if isinstance(op, QuantableOperation) else "no" for op in (one, other))
            if isinstance(one, QuantableOperation) != isinstance(other, QuantableOperation):
                fields.append(FieldChange("quantable", *kinds))
            platforms = (_platform(one), _platform(other))
            if platforms[0] != platforms[1]:
                fields.append(FieldChange("platform", *platforms))
            for name in sorted({*one.attributes, *other.attributes}):
                if is_quantization(one, name):
                    values = one.attributes.get(name), other.attributes.get(name)
                    fields += number_changes(name.replace("_", " "), *values)
            if fields:
                ref = pair_ref(self._matching, a, b)
                yield OperationChange(ref, "", tuple(fields), self._passes)


def new_passes(before: Graph, after: Graph) -> Iterator[str]:
    """Yield the passes that changed something on the way from one graph to the other."""
    common = 0
    for one, other in zip(before.history, after.history, strict=False):
        if one != other:
            break
        common += 1
    if common < len(before.history):
        return
    names = (r.name for r in after.history[common:] if r.input_digest != r.output_digest)
    yield from dict.fromkeys(names)


def row_changes(
    left: QuantizationParameters | None, right: QuantizationParameters | None
) -> Iterator[FieldChange]:
    """Yield the changes of scale and zero point."""
    before, after = _numbers(left), _numbers(right)
    if before[0] != after[0]:
        yield FieldChange("scale", *_brief(before[0], after[0]), _relative(before[0], after[0]))
    if before[1] != after[1]:
        yield FieldChange("zero point", *_brief(before[1], after[1]), _steps(before[1], after[1]))


def number_changes(
    name: str, before: Attribute | None, after: Attribute | None
) -> Iterator[FieldChange]:
    """Yield the change of a number that may be absent."""
    one, other = (() if v is None else (v,) for v in (before, after))
    if repr(one) == repr(other):  # tells 0.0 from -0.0, and NaN is itself
        return
    size = ""
    if isinstance(before, (int, float)) and isinstance(after, (int, float)):
        is_scale = isinstance(before, float) and isinstance(after, float)
        size = (_relative if is_scale else _steps)((before,), (after,))
    yield FieldChange(name, _written(before), _written(after), size)


def _written(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def _scheme(pair: _Pair) -> Iterator[FieldChange]:
    """Yield the changes of everything but row and relation.

    A slot that one operation does not have, or not as a quantable one, has no scheme; a slot that
    is not quantized is as good as none then. Observers are compared where both slots were observed:
    a range that came with a model was not.
    """
    before, after = _texts(pair.before), _texts(pair.after)
    for held, other in ((pair.before, pair.after), (pair.after, pair.before)):
        if other is None and held is not None and not held.is_quantized:
            return
    for name, left, right in zip(_NAMES, before, after, strict=True):
        is_compared = name != "observer" or "-" not in (left, right)
        if left != right and is_compared:
            yield FieldChange(name, left, right)


_NAMES = ("state", "suspended", "bits", "exponent bits", "policy", "range", "rounding", "axis",
          "block size", "observer", "visibility")  # fmt: skip


def _texts(config: TensorQuantizationConfig | None) -> tuple[str, ...]:
    if config is None:
        return ("-",) * len(_NAMES)
    axis, suspended = config.channel_axis, config.suspended
    return (
        config.state.value, "-" if suspended is None else suspended.value, str(config.bits),
        str(config.exponent_bits or "-"), str(config.policy),
        f"[{config.quant_min}, {config.quant_max}]",
        config.rounding.value, "-" if axis is None else str(axis),
        str(config.block_size or "-"), config.observer or "-", config.visibility.value,
    )  # fmt: skip


def _row_of(config: TensorQuantizationConfig | None) -> str:
    return config.row if config is not None else ""


def _platform(op: Operation) -> str:
    return (op.platform if isinstance(op, QuantableOperation) else "") or "-"


def _numbers(
    row: QuantizationParameters | None,
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    return ((), ()) if row is None else (row.scale, row.zero_point)


def _is_product(row: QuantizationParameters, rows: Rows) -> bool:
    product = np.ones(1, np.float32)
    for name in row.derived_from:
        source = rows.rows.get(name)
        if source is None or not source.scale:
            return False
        product = product * source.scale_array
    return bool(np.array_equal(product, row.scale_array))


def _derivation(row: QuantizationParameters | None) -> str:
    return " x ".join(row.derived_from) if row and row.derived_from else "-"


def _brief(before: tuple[float, ...], after: tuple[float, ...]) -> tuple[str, str]:
    """Return two rows of numbers as text: where they are long, those that lie furthest apart."""
    if len(before) == len(after) and len(before) > 1:
        gaps = np.abs(np.asarray(before, np.float64) - np.asarray(after, np.float64))
        at = int(np.argmax(gaps))
        return f"[{at}] {_written(before[at])}", f"[{at}] {_written(after[at])}"
    return _row_text(before), _row_text(after)


def _row_text(values: tuple[float, ...]) -> str:
    if len(values) > 1 and min(values) == max(values):
        return f"{_written(values[0])} in {len(values)} channels"
    if len(values) > 1:
        return f"{len(values)} channels from {_written(min(values))} to {_written(max(values))}"
    return _written(values[0]) if values else "-"


def _relative(before: tuple[float, ...], after: tuple[float, ...]) -> str:
    if len(before) != len(after) or not before:
        return ""
    left, right = np.asarray(before, np.float64), np.asarray(after, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        change = (right - left) / left
    at = int(np.argmax(np.abs(change)))
    channels = (
        f" in {np.count_nonzero(change)} of {len(before)} channels" if at or len(before) > 1 else ""
    )
    return f"{100 * change[at]:+.4g} %{channels}"


def _steps(before: tuple[float, ...], after: tuple[float, ...]) -> str:
    if len(before) != len(after) or not before:
        return ""
    change = [right - left for left, right in zip(before, after, strict=True)]
    return f"{max(change, key=abs):+g}"


def _place(change: OperationChange) -> tuple[int, str]:
    return change.operation.position, change.slot
