"""The verifier: one table of invariants, run after every stage."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantable.ir.errors import InvariantError
from quantable.ir.graph import Graph, Level, Value
from quantable.ir.integer_operations import INTEGER_OPERATIONS, MOVEMENT_OPERATIONS
from quantable.ir.memory_check import memory_faults
from quantable.ir.memory_plan import MemoryPlan
from quantable.ir.operation import QuantableOperation
from quantable.ir.operation_library import record_key, user_kind
from quantable.ir.quantization import Relation, TensorQuantizationConfig
from quantable.ir.states import State

_ALL = frozenset(Level)
_CONFIGURED = frozenset({Level.QUANTABLE})
_EXPLICIT = frozenset({Level.INTEGER, Level.PLANNED})
_REGIONAL = frozenset({Level.FLOAT, Level.QUANTABLE})
_REGION_SHAPES = {"If": (1, 0), "Loop": (0, 1)}
"""By kind: operands that no region gets, and outputs that only its region has."""
_RELATIONS: dict[State, frozenset[Relation]] = {
    State.INITIAL: frozenset({Relation.OWN}),
    State.ACTIVATED: frozenset({Relation.OWN}),
    State.OVERLAPPED: frozenset({Relation.OVERLAPPED}),
    State.PASSIVE_INIT: frozenset({Relation.SHARED, Relation.DERIVED}),
    State.PASSIVE: frozenset({Relation.SHARED, Relation.DERIVED}),
    State.BAKED: frozenset({Relation.OWN}),
    State.PASSIVE_BAKED: frozenset({Relation.SHARED, Relation.DERIVED}),
    State.FP32: frozenset({Relation.NONE}),
}


@dataclass(frozen=True, slots=True)
class Invariant:
    """A rule that every graph of some levels obeys.

    `check` yields (place, what is wrong) for every violation.
    """

    name: str
    levels: frozenset[Level]
    check: Callable[[Graph], Iterator[tuple[str, str]]]


def _values_exist(graph: Graph) -> Iterator[tuple[str, str]]:
    for name in (*graph.inputs, *graph.outputs):
        if name not in graph.values:
            yield f"graph '{graph.name}'", f"input or output '{name}' is not a value"
    for op in graph.operations:
        for name in (*op.inputs, *op.outputs):
            if name and name not in graph.values:
                yield op.where(), f"'{name}' is not a value"
    for name, value in graph.values.items():
        if name != value.name:
            yield f"value '{name}'", f"is held under the wrong name: expected '{value.name}'"


def _single_assignment(graph: Graph) -> Iterator[tuple[str, str]]:
    defined = {*graph.inputs, *graph.parameters}
    for name in sorted(set(graph.inputs) & set(graph.parameters)):
        yield f"value '{name}'", "is an input and a parameter"
    for op in graph.operations:
        for name in op.inputs:
            if name and name not in defined:
                yield op.where(), f"reads '{name}' before it is defined"
        for name in op.outputs:
            if name and name in defined:
                yield op.where(), f"defines '{name}' a second time"
            defined.add(name)
    for name in graph.outputs:
        if name not in defined:
            yield f"output '{name}'", "is never defined"


def _names_unique(graph: Graph) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for op in graph.operations:
        if op.name in seen or not op.name:
            yield op.where(), "its name is empty or taken"
        seen.add(op.name)


def _parameters_match(graph: Graph) -> Iterator[tuple[str, str]]:
    for name, ref in graph.parameters.items():
        value = graph.values.get(name)
        if value is None:
            yield f"parameter '{name}'", "is not a value"
        elif (value.dtype, value.shape) != (ref.dtype, ref.shape):
            yield (
                f"parameter '{name}'",
                f"expected {value.dtype.value}{value.shape}, found {ref.dtype.value}{ref.shape}",
            )
    for digest in graph.contents():
        if digest not in graph.store:
            yield f"content {digest[:12]}", "is not in the store"


def _slots_match(graph: Graph) -> Iterator[tuple[str, str]]:
    for op in graph.quantable_operations:
        for slot in (*(slot for slot, _ in op.originals), *(entry.slot for entry in op.baked)):
            if slot not in range(len(op.inputs)):
                yield op.where(), f"holds a parameter of slot {slot}, which it does not have"
        found = (len(op.config.inputs), len(op.config.outputs))
        if found != (len(op.inputs), len(op.outputs)):
            yield op.where(), f"has configs for {found} slots"


@dataclass(frozen=True, slots=True)
class _Slot:
    """A slot, which spells its place where something is wrong with it."""

    operation: QuantableOperation
    side: str
    index: int

    def __str__(self) -> str:
        return f"{self.operation.where()} {self.side}{self.index}"


def _configs(graph: Graph) -> Iterator[tuple[_Slot, TensorQuantizationConfig]]:
    for op in graph.quantable_operations:
        for side, index, config in op.config.slots():
            yield _Slot(op, side, index), config


def _relations_match(graph: Graph) -> Iterator[tuple[str, str]]:
    for slot, config in _configs(graph):
        state = config.suspended or config.state
        if config.relation not in _RELATIONS[state]:
            yield str(slot), f"state {state.value} with relation {config.relation.value}"
        if config.suspended is not None and config.state is not State.FP32:
            yield str(slot), f"is suspended, expected state fp32, found {config.state.value}"
        if (config.relation is Relation.NONE) == bool(config.row):
            yield str(slot), f"relation {config.relation.value} with row '{config.row}'"
        if config.row and config.row not in graph.rows:
            yield str(slot), f"row '{config.row}' does not exist"


def _rows_filled(graph: Graph) -> Iterator[tuple[str, str]]:
    for slot, config in _configs(graph):
        state = config.suspended or config.state
        row = graph.rows.get(config.row)
        if row is None:
            continue
        if (state.is_in_force or state.is_baked) and not row.is_filled:
            yield str(slot), f"state {state.value} but row '{row.id}' has no scale"
        if state is State.INITIAL and row.is_filled:
            yield str(slot), f"state {state.value} but row '{row.id}' has a scale"
        low, high = config.quant_min, config.quant_max
        if any(z and not low <= z <= high for z in row.zero_point):
            yield str(slot), f"a zero point of row '{row.id}' is outside the slot's range"


def _rows_valid(graph: Graph) -> Iterator[tuple[str, str]]:
    for name, row in graph.rows.items():
        if name != row.id:
            yield f"row '{name}'", f"is held under the wrong name: expected '{row.id}'"
        if len(row.scale) != len(row.zero_point):
            yield f"row '{row.id}'", f"{len(row.scale)} scales, {len(row.zero_point)} zero points"
        scales = row.scale_array
        if scales.size and not (np.isfinite(scales).all() and (scales > 0).all()):
            yield f"row '{row.id}'", "a scale is not a positive finite number"
        sources = [graph.rows.get(name) for name in row.derived_from]
        if row.is_filled and sources:
            if not all(source is not None and source.is_filled for source in sources):
                yield f"row '{row.id}'", "is derived from a row that is missing or empty"
                continue
            factors = [source.scale_array for source in sources if source is not None]
            if not _is_product(scales, factors):
                yield f"row '{row.id}'", f"is not the product of {', '.join(row.derived_from)}"


def _is_product(scales: npt.NDArray[np.float32], factors: list[npt.NDArray[np.float32]]) -> bool:
    """Whether scales are the product, one factor after another; one scale stands for all."""
    if {factor.size for factor in factors} - {1, scales.size}:
        return False
    product = np.ones(1, np.float32)
    for factor in factors:
        product = product * factor
    return np.array_equal(product, scales)


def _one_owner(graph: Graph) -> Iterator[tuple[str, str]]:
    owner: dict[str, _Slot] = {}
    for slot, config in _configs(graph):
        if config.relation in (Relation.OWN, Relation.DERIVED):
            if config.row in owner:
                yield str(slot), f"owns row '{config.row}', which {owner[config.row]} owns"
            owner[config.row] = slot
    for slot, config in _configs(graph):
        if config.row and config.row not in owner:
            yield str(slot), f"refers to row '{config.row}', which no slot owns"


def _baked_match(graph: Graph) -> Iterator[tuple[str, str]]:
    for op in graph.quantable_operations:
        slots = {entry.slot for entry in op.baked}
        for index, config in enumerate(op.config.inputs):
            is_baked = (config.suspended or config.state).is_baked
            if is_baked != (index in slots):
                yield f"{op.where()} in{index}", "state and stored integers disagree"
        for entry in op.baked:
            where = f"{op.where()} in{entry.slot}"
            config = op.config.inputs[entry.slot]
            row = graph.rows.get(config.row)
            if row is not None and row.digest != entry.row_digest:
                yield where, f"row '{row.id}' changed while it is baked in"
            if not config.has_storage:
                yield where, f"policy '{config.policy}' of {config.bits} bits cannot be stored"
            elif entry.content.dtype is not config.storage:
                yield where, f"expected {config.storage.value}, found {entry.content.dtype.value}"


def _blocks_match(graph: Graph) -> Iterator[tuple[str, str]]:
    for slot, config in _configs(graph):
        if not config.policy.is_per_block or not config.row:
            continue
        op, index = slot.operation, slot.index
        name = op.inputs[index] if slot.side == "in" else ""
        ref = op.original(index) or graph.parameters.get(name)
        if not name or ref is None:
            yield str(slot), "is quantized in blocks, expected a parameter"
            continue
        rank, axis = len(ref.shape), config.channel_axis
        if axis is None or not -rank <= axis < rank:
            yield str(slot), f"blocks along axis {axis} of {rank}"
            continue
        scales = len(graph.rows[config.row].scale)
        expected = math.prod(config.block_shape(ref.shape))
        if scales not in (0, expected):
            yield str(slot), f"expected {expected} scales, one a block, found {scales}"


def _baked_unshared(graph: Graph) -> Iterator[tuple[str, str]]:
    for op in graph.quantable_operations:
        for entry in op.baked:
            name = op.inputs[entry.slot]
            if len(graph.uses(name)) > 1:
                yield f"{op.where()} in{entry.slot}", f"baked parameter '{name}' is shared"


def _no_configs(graph: Graph) -> Iterator[tuple[str, str]]:
    if graph.level is Level.QUANTABLE:
        return
    for op in graph.quantable_operations:
        yield op.where(), f"has a config at the {graph.level.value} level"


def _explicit_kinds(graph: Graph) -> Iterator[tuple[str, str]]:
    user = graph.metadata
    for op in graph.operations:
        row = INTEGER_OPERATIONS.get(op.kind)
        if row is None:
            is_user = op.kind != user_kind(op.kind) and record_key(user_kind(op.kind)) in user
            if op.kind not in MOVEMENT_OPERATIONS and not is_user:
                yield op.where(), "is not an integer operation"
            continue
        if len(op.inputs) != len(row.operands) or not all(op.inputs):
            yield op.where(), f"expected operands {', '.join(row.operands)}"
        allowed = {*row.attributes, *row.optional}
        missing = [name for name in row.attributes if name not in op.attributes]
        unknown = [name for name in op.attributes if name not in allowed]
        if missing or unknown:
            yield op.where(), f"attributes missing: {missing}, unknown: {unknown}"


def _planned_memory(graph: Graph) -> Iterator[tuple[str, str]]:
    if graph.plan is None:
        if graph.level is Level.PLANNED:
            yield f"graph '{graph.name}'", "has no memory plan"
        return
    if graph.plan.alignment < 1:
        yield f"graph '{graph.name}'", f"its memory plan has the alignment {graph.plan.alignment}"
        return
    for name, offset in graph.plan.offsets.items():
        value = graph.values.get(name)
        if value is None:
            yield f"memory plan '{name}'", "is not a value"
            continue
        if offset % graph.plan.alignment or offset < 0:
            yield f"memory plan '{name}'", f"offset {offset} is not aligned"
        size = _size_bytes(graph.plan, value)
        if size is not None and offset + size > graph.plan.arena_bytes:
            yield f"memory plan '{name}'", f"ends at {offset + size}, outside the arena"


def _nothing_overwritten(graph: Graph) -> Iterator[tuple[str, str]]:
    if graph.plan is not None and graph.level is Level.PLANNED:
        yield from memory_faults(graph, graph.plan)


def _size_bytes(plan: MemoryPlan, value: Value) -> int | None:
    """Return the size of a value in the arena, None where it is not known."""
    if value.shape is None or any(isinstance(dim, str) for dim in value.shape):
        return None
    shape = [int(dim) for dim in value.shape]
    for stream in plan.streams:
        if value.name in stream.rings and len(shape) == 4:
            shape[1] = stream.rings[value.name].rows
    return (math.prod(shape) * value.dtype.bits + 7) // 8


def _regions_match(graph: Graph) -> Iterator[tuple[str, str]]:
    for op in graph.operations:
        regions = op.regions
        if regions and graph.level not in _REGIONAL:
            yield op.where(), f"has regions at the {graph.level.value} level"
        for name, region in regions.items():
            where = f"{op.where()} region '{name}'"
            first, more = _REGION_SHAPES.get(op.kind, (0, 0))
            expected = len(op.inputs) - first
            if len(region.inputs) != expected or not 0 <= op.captures <= expected:
                yield where, f"expected {expected} inputs, found {len(region.inputs)}"
            if len(region.outputs) < len(op.outputs) + more:
                yield where, f"expected {len(op.outputs) + more} outputs, or more"
            inner = graph.graph_of(region)
            for check in (_values_exist, _single_assignment, _names_unique, _parameters_match,
                          _no_configs, _regions_match):  # fmt: skip
                for place, what in check(inner):
                    yield f"{where}, {place}", what


INVARIANTS: tuple[Invariant, ...] = (
    Invariant("values-exist", _ALL, _values_exist),
    Invariant("single-assignment", _ALL, _single_assignment),
    Invariant("names-unique", _ALL, _names_unique),
    Invariant("parameters-match", _ALL, _parameters_match),
    Invariant("no-configs", _ALL, _no_configs),
    Invariant("regions-match", _ALL, _regions_match),
    Invariant("rows-valid", _ALL, _rows_valid),
    Invariant("slots-match", _CONFIGURED, _slots_match),
    Invariant("relations-match", _CONFIGURED, _relations_match),
    Invariant("rows-filled", _CONFIGURED, _rows_filled),
    Invariant("blocks-match", _CONFIGURED, _blocks_match),
    Invariant("one-owner", _CONFIGURED, _one_owner),
    Invariant("baked-match", _CONFIGURED, _baked_match),
    Invariant("baked-unshared", _CONFIGURED, _baked_unshared),
    Invariant("explicit-kinds", _EXPLICIT, _explicit_kinds),
    Invariant("planned-memory", _EXPLICIT, _planned_memory),
    Invariant("nothing-overwritten", _EXPLICIT, _nothing_overwritten),
)
"""Every invariant; later ones may rely on earlier ones of the table."""


def violations(graph: Graph) -> list[tuple[str, str, str]]:
    """Return (invariant, place, what is wrong), those of the first invariant that is broken."""
    for invariant in INVARIANTS:
        if graph.level in invariant.levels:
            found = [(invariant.name, where, what) for where, what in invariant.check(graph)]
            if found:
                return found
    return []


def verify(graph: Graph, after: str = "") -> None:
    """Raise unless the graph obeys every invariant of its level.

    Args:
        graph: The graph.
        after: The stage that made it, for the message.

    Raises:
        InvariantError: Names the invariant, the place and the number of violations.
    """
    found = violations(graph)
    if found:
        name, where, what = found[0]
        stage = f" after {after}" if after else ""
        raise InvariantError(
            f"{what} (invariant {name}{stage}, {len(found)} violations)", where=where
        )
