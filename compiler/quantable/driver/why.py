"""Which passes touched an operation, and where its scales come from.

Where the file lies in a folder of stage files, each stage in which something changed is redone, and
the effect of every single pass is seen. Without them the history names the passes that ran, and the
rows say which statistic filled them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from quantable.driver import api
from quantable.driver.context import context_for
from quantable.driver.pipelines import resolve
from quantable.driver.stages import STAGE
from quantable.driver.touches import related, scales, touches
from quantable.ir import (
    Decision,
    FormatError,
    Graph,
    Operation,
    OperationLibrary,
    OptionError,
    Profile,
    QuantableOperation,
    Relation,
    StageRecord,
    UnknownNameError,
    UserError,
    graph_digest,
)
from quantable.passes.base import CHECKS, PassContext, run_passes
from quantable.passes.instruments.instrument import Instrument, Step
from quantable.targets.description import load_target


@dataclass(frozen=True, slots=True)
class Touch:
    """What a pass did to an operation.

    Attributes:
        stage: The pass with its options; several, joined by ',', where a stage could not be redone.
        what: In words, one entry a change.
    """

    stage: str
    what: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the scale of a slot comes from.

    Attributes:
        operation: Name of the operation; more than one may come from the same nodes.
        slot: ``in0``, ``out0``.
        value: Name of the tensor.
        scheme: State, relation, bits and policy.
        row: Id of the row; '' where the slot has none.
        scale: Its scales and zero points, six digits.
        reason: Which pass filled it, and from which statistic.
        derived_from: The rows whose scales multiply to this one, written as rows.
        shared_with: The other slots that hold the row.
    """

    operation: str
    slot: str
    value: str
    scheme: str
    row: str = ""
    scale: str = ""
    reason: str = ""
    derived_from: tuple[str, ...] = ()
    shared_with: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision about an operation.

    Attributes:
        stage: The pass with its options.
        decision: What it tried, and what came of it.
    """

    stage: str
    decision: Decision


@dataclass(frozen=True, slots=True)
class Explanation:
    """All there is to say about one operation.

    Attributes:
        operation, kind: Its name and kind.
        sources: The ONNX nodes that it came from.
        touched: By which passes, in order; as far as it is known.
        decided: What passes tried on it, accepted or refused, in order; all of the history.
        origins: Of its slots, as the last quantable stage has them.
        scales_of: The file that `origins` is from; '' for the file itself.
        is_complete: Whether every pass of the history was looked at.
    """

    operation: str
    kind: str
    sources: tuple[str, ...]
    touched: tuple[Touch, ...]
    decided: tuple[Decided, ...]
    origins: tuple[Origin, ...]
    scales_of: str
    is_complete: bool


def explain(
    path: str | Path,
    operation: str,
    *,
    slot: str = "",
    target: str | Path | None = None,
    operations: OperationLibrary | None = None,
) -> Explanation:
    """Explain one operation of a file.

    Args:
        path: The .qir file; the stage files and the profile beside it are used.
        operation: Its name, that of an ONNX node it came from, or that of a value it makes.
        slot: Only this one: ``in0``, ``out0`` ...
        target: Description file, where the graph's target is none of the shipped ones.
        operations: The user operations at hand; by default those of installed packages.

    Raises:
        FormatError: The file is damaged.
        UnknownNameError: There is no such operation or slot.
    """
    path = Path(path)
    graph = api.load(path, operations)
    found = _find(graph, operation)
    names = frozenset((found.name, *found.sources))
    stages = [*_stages_before(path, graph), (path.name, graph)]
    context = _context(path, graph, target)
    touched: list[Touch] = []
    first = stages[0][1]
    if len(first.history) == 1:
        made = tuple(f"made '{op.name}' ({op.kind})" for op in related(first, names).values())
        touched.append(Touch(first.history[0].name, made))
    for (_, before), (_, after) in itertools.pairwise(stages):
        touched += _between(before, after, names, context)
    holder, held = _quantable(stages)
    origins = [
        origin
        for op in related(held, names).values()
        if isinstance(op, QuantableOperation)
        for origin in _origins(held, op)
    ]
    if slot:
        known = [origin.slot for origin in origins]
        origins = [origin for origin in origins if origin.slot == slot]
        if not origins:
            raise UnknownNameError("slot", slot, known, where=found.where())
    return Explanation(
        found.name, found.kind, found.sources, tuple(touched),
        tuple(_decided(graph, names.union(*(related(g, names) for _, g in stages)))),
        tuple(origins), "" if held is graph else holder, len(first.history) == 1,
    )  # fmt: skip


def _decided(graph: Graph, names: frozenset[str]) -> Iterator[Decided]:
    """Yield the decisions that name an operation, under any name that a stage gave it."""
    for record in graph.history:
        for decision in record.decisions:
            if not names.isdisjoint(decision.subject):
                yield Decided(f"{record.name}{record.options}", decision)


def _find(graph: Graph, name: str) -> Operation:
    named = graph.operation_by_name.get(name) or graph.producers.get(name)
    if named is not None:
        return named
    for op in graph.operations:
        if name in op.sources:
            return op
    known = {other for op in graph.operations for other in (op.name, *op.sources)}
    raise UnknownNameError("operation", name, known, where=graph.name)


def _stages_before(path: Path, graph: Graph) -> list[tuple[str, Graph]]:
    """Return the stage files beside a file that its history passed through, in order."""
    found = []
    for stage in STAGE.values():
        other = path.with_name(stage.file) if stage.file.endswith(".qir") else path
        if other == path or not other.is_file():
            continue
        try:
            held = api.load(other, graph.library)
        except FormatError:
            continue  # a damaged neighbour says nothing about this file
        count = len(held.history)
        if 0 < count < len(graph.history) and _is_stage(held, graph.history[:count]):
            found.append((other.name, held))
    return found


def _is_stage(graph: Graph, records: tuple[StageRecord, ...]) -> bool:
    return graph.history == records and graph_digest(graph) == records[-1].output_digest


def _context(path: Path, graph: Graph, target: str | Path | None) -> PassContext:
    profile: Profile | None = None
    beside = path.with_name(STAGE["observe"].file)
    if beside.is_file():
        try:
            profile = api.load_profile(beside)
        except FormatError:
            profile = None  # then a stage that needs it is told as a whole
    name = target or graph.target
    try:
        description = load_target(name) if name else None
    except (UnknownNameError, OptionError):
        if target is not None:
            raise
        description = None
    return context_for(graph, description, profile)


class _Watch(Instrument):
    """Notes what each pass does to some operations."""

    name: ClassVar[str] = "why"

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self.touched: list[Touch] = []

    def after(self, step: Step, result: Graph) -> None:
        """Compare what the pass was given with what it made."""
        what = touches(step.graph, result, self._names)
        if what:
            self.touched.append(Touch(f"{step.item.name}{step.item.options()}", tuple(what)))


def _between(
    before: Graph, after: Graph, names: frozenset[str], context: PassContext
) -> list[Touch]:
    whole = touches(before, after, names)
    if not whole:
        return []
    records = after.history[len(before.history) :]
    watch = _Watch(names)
    try:
        items = [item for record in records for item in resolve(f"{record.name}{record.options}")]
        made = run_passes(before, items, context, (watch, *CHECKS))
    except UserError:
        made = None
    if made is not None and graph_digest(made) == graph_digest(after):
        return watch.touched
    # Written by another version, or without its profile: what is known is the stage as a whole.
    return [Touch(",".join(f"{record.name}{record.options}" for record in records), tuple(whole))]


def _quantable(stages: list[tuple[str, Graph]]) -> tuple[str, Graph]:
    """Return the last graph that has rows: integer graphs have none any more."""
    for name, graph in reversed(stages):
        if graph.rows:
            return name, graph
    return stages[-1]


def _origins(graph: Graph, op: QuantableOperation) -> list[Origin]:
    found = []
    for side, index, config in op.config.slots():
        value = (op.inputs if side == "in" else op.outputs)[index]
        scheme = f"{config.state.value}, {config.relation.value}"
        if config.relation is not Relation.NONE:
            scheme += f", {config.bits} bits {config.policy}"
        row = graph.rows.get(config.row)
        if row is None:
            found.append(Origin(op.name, f"{side}{index}", value, scheme))
            continue
        parts = tuple(f"'{name}': {scales(graph.rows[name])}" for name in row.derived_from)
        others = tuple(_holders(graph, row.id, f"{op.name}.{side}{index}"))
        found.append(
            Origin(
                op.name, f"{side}{index}", value, scheme, row.id, scales(row),
                row.provenance or "not filled yet", parts, others,
            )
        )  # fmt: skip
    return found


def _holders(graph: Graph, row: str, but: str) -> list[str]:
    return [
        slot
        for op in graph.quantable_operations
        for side, index, config in op.config.slots()
        if config.row == row and (slot := f"{op.name}.{side}{index}") != but
    ]
