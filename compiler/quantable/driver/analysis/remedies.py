"""What would help: each remedy is tried on the quantized network, all else being as it is.

The gain is measured at the network's outputs, not derived from the budget: errors cancel and add up
in ways that no formula knows. It is that of one remedy alone; the gains of several do not add up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from quantable.driver.analysis.budget import Budget
from quantable.driver.analysis.forms import Form, rerun
from quantable.driver.analysis.grids import Place, beyond, is_linear, refined
from quantable.driver.analysis.groups import Group, is_executed
from quantable.driver.analysis.measures import Totals, decibels, gain_db, noise
from quantable.driver.analysis.rows import Change, per_channel, with_row
from quantable.driver.analysis.shifts import BIAS_SLOT, OUTPUT_AXIS, Means, Shifts
from quantable.driver.analysis.subject import Pair, Subject, named
from quantable.ir import (
    Graph,
    QuantableOperation,
    QuantizationParameters,
    Relation,
    TensorQuantizationConfig,
)
from quantable.ir.numerics import scale_from_range
from quantable.passes.calibrate.weights import grid_weights, minmax_weights

PLACES = 12
"""So many tensors with the largest parts of the budget are looked at, by default."""
_WEIGHT_AXIS = {"Conv": 0, "ConvTranspose": 1, "quantable.Linear": 1}
"""Axis of the output channels in the weights; of a ConvTranspose without groups."""
_FIXED = "fixed"
_WIDE = 16


@dataclass(frozen=True, slots=True)
class Cure:
    """A remedy applied.

    Attributes:
        place: The slot that stands for what it changes.
        graph: The changed network.
        changed: The operations that compute something else in it.
    """

    place: Place
    graph: Graph
    changed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Remedy:
    """A row of the table of remedies.

    Attributes:
        summary: What it does.
        apply: Returns the changed network, None where the remedy does not apply to a slot.
    """

    summary: str
    apply: Callable[[Subject, Place, Means], Cure | None]


@dataclass(frozen=True)
class Trial:
    """One remedy tried.

    Attributes:
        remedy: Its name.
        cure: What it changes.
        form: The changed network.
        totals: The error that is left, by measured value.
    """

    remedy: str
    cure: Cure
    form: Form
    totals: dict[str, Totals]


class Remedies:
    """Tries remedies on the tensors that the budget blames most.

    Attributes:
        trials: The worst tensors' first.

    Args:
        subject: What is analysed.
        budget: Its budget, all samples added.
        shifts: The average errors of channels, all samples added.
        places: So many tensors are looked at.
    """

    def __init__(
        self, subject: Subject, budget: Budget, shifts: Shifts, places: int = PLACES
    ) -> None:
        self._subject = subject
        self._before = subject.totals_at_outputs()
        self.trials = list(_trials(subject, budget.places()[:places], shifts.means()))

    def add(self, pair: Pair) -> None:
        """Add one sample."""
        for name, totals in self._before.items():
            totals.add(pair.real[name], pair.quantized[name])
        rest = self._subject.quantized_form
        for trial in self.trials:
            new = rerun(pair.quantized, trial.cure.changed, trial.form, rest)
            for name, totals in trial.totals.items():
                totals.add(pair.real[name], new.get(name, pair.quantized[name]))

    def facts(self) -> list[dict[str, object]]:
        """Return the trials as JSON values, the best first."""
        before, graph = noise(self._before), self._subject.graph
        rows: list[tuple[float, dict[str, object]]] = []
        for trial in self.trials:
            left = noise(trial.totals)
            place = trial.cure.place
            rows.append((left, {
                "remedy": trial.remedy, "tensor": place.value(graph), "slot": str(place),
                **named(graph.operation_by_name[place.operation]),
                "network_db": decibels(left), "gain_db": gain_db(before, left),
            }))  # fmt: skip
        return [facts for _, facts in sorted(rows, key=lambda row: row[0])]


def _trials(subject: Subject, places: Sequence[Place], means: Means) -> Iterator[Trial]:
    seen: set[tuple[str, Place]] = set()
    for place in places:
        for name, remedy in REMEDIES.items():
            cure = remedy.apply(subject, place, means)
            if cure is not None and (name, cure.place) not in seen:
                seen.add((name, cure.place))
                yield Trial(name, cure, Form(cure.graph), subject.totals_at_outputs())


# ---------------------------------------------------------------- the remedies


def _wider_range(subject: Subject, place: Place, means: Means) -> Cure | None:
    """Cover all that the tensors of the slot's row hold."""
    del means
    graph = subject.graph
    place = _owner(graph, place)
    config = place.config(graph)
    if not _is_free(config):
        return None
    row = graph.rows[config.row]
    original = _original(graph, place)
    if original is not None:
        low, high = minmax_weights(original, config)
        does_clip = beyond(original, config, row).any()
    else:
        held = [subject.ranges[name] for name in _values(graph, config.row)]
        low, high = np.array([min(r[0] for r in held)]), np.array([max(r[1] for r in held)])
        does_clip = beyond(np.concatenate([low, high]), config, row).any()
    if not does_clip:
        return None
    scale, zero = scale_from_range(low, high, config)
    return _on(graph, place, row.filled(scale, zero, "wider range"), lambda held: held)


def _int16(subject: Subject, place: Place, means: Means) -> Cure | None:
    """Take 16 bits for the same range."""
    del means
    graph = subject.graph
    place = _owner(graph, place)
    config = place.config(graph)
    if not _is_free(config) or config.bits >= _WIDE:
        return None
    row, more = graph.rows[config.row], _WIDE - config.bits
    _, finer = refined(config, row, more)

    def widen(held: TensorQuantizationConfig) -> TensorQuantizationConfig:
        return replace(refined(held, row, more)[0], row=row.id)

    return _on(graph, place, replace(finer, id=row.id), widen)


def _per_channel(subject: Subject, place: Place, means: Means) -> Cure | None:
    """Give every output channel of the weights its own scale."""
    del means
    graph, config = subject.graph, place.config(subject.graph)
    op, weights = graph.operation_by_name[place.operation], _original(graph, place)
    if weights is None or place != Place(op.name, "in", 1) or not _is_free(config):
        return None
    is_grouped = op.kind == "ConvTranspose" and op.int_attribute("group", 1) > 1
    if config.policy.has_axis or op.kind not in _WEIGHT_AXIS or is_grouped:
        return None
    axis = _WEIGHT_AXIS[op.kind]
    low, high = grid_weights(weights, per_channel(config, axis))
    scale, zero = scale_from_range(low, high, config)
    row = graph.rows[config.row].filled(scale, zero, "a scale a channel")
    return _on(graph, place, row, lambda held: per_channel(held, axis))


def _on(graph: Graph, place: Place, row: QuantizationParameters, change: Change) -> Cure:
    """Return a network with another row. Where weights change, the bias is the original one.

    What a pass put into the bias makes up for the error of the weights as they are.
    """
    changed, names = with_row(graph, row, change)
    op = changed.operation_by_name[place.operation]
    assert isinstance(op, QuantableOperation)
    original = op.original(BIAS_SLOT) if _original(graph, place) is not None else None
    if original is not None and op.kind in OUTPUT_AXIS:
        parameters = {**changed.parameters, op.inputs[BIAS_SLOT]: original}
        changed = replace(changed, parameters=parameters)
    return Cure(place, changed, names)


def _bias_correction(subject: Subject, place: Place, means: Means) -> Cure | None:
    """Take the average error of every channel out of the output by way of the bias."""
    group, graph = _group(subject, place), subject.graph
    name = next((name for name in group.operations if name in means), None)
    if name is None:
        return None
    op = graph.operation_by_name[name]
    assert isinstance(op, QuantableOperation)
    bias = op.inputs[BIAS_SLOT]
    corrected = (graph.array(bias).astype(np.float64) + means[name]).astype(np.float32)
    changed = replace(
        graph.with_operation(op.unbake_parameters()),
        parameters={**graph.parameters, bias: graph.store.put(corrected)},
    )
    return Cure(Place(name, "in", BIAS_SLOT), changed, frozenset([name]))


def _float_operation(subject: Subject, place: Place, means: Means) -> Cure | None:
    """Leave the operation, with all that is fused with it, float."""
    del means
    names = _group(subject, place).operations
    chain = [op for op in subject.graph.quantable_operations if op.name in names]
    changed = subject.graph.with_operations(op.dequantize() for op in chain)
    return Cure(Place(names[-1], "out", 0), changed, frozenset(names))


REMEDIES: dict[str, Remedy] = {
    "wider_range": Remedy("the range covers all that was seen", _wider_range),
    "int16": Remedy("16 bits for the same range", _int16),
    "per_channel": Remedy("a scale for every output channel of the weights", _per_channel),
    "bias_correction": Remedy("the average error goes into the bias", _bias_correction),
    "float_operation": Remedy("the operation stays float", _float_operation),
}
"""Every remedy by name."""


def _is_free(config: TensorQuantizationConfig) -> bool:
    """Whether a slot's grid can be another one: a bias follows, and some are the target's."""
    is_own = config.relation is Relation.OWN and config.observer != _FIXED
    return is_own and is_linear(config) and is_executed(config)


def _owner(graph: Graph, place: Place) -> Place:
    """Return the slot that owns the row of another one."""
    config = place.config(graph)
    if config.relation is not Relation.SHARED:
        return place
    slots = (
        (Place(op.name, side, index), held)
        for op in graph.quantable_operations
        for side, index, held in op.config.slots()
    )
    return next(
        slot for slot, held in slots if held.row == config.row and held.relation is Relation.OWN
    )


def _original(graph: Graph, place: Place) -> npt.NDArray[np.float32] | None:
    """Return the original of a slot's parameter, None for an activation."""
    if not place.is_parameter(graph):
        return None
    return graph.store.get(place.original(graph)).astype(np.float32)


def _values(graph: Graph, row: str) -> list[str]:
    """Return the tensors that a row quantizes."""
    return [
        (op.inputs if side == "in" else op.outputs)[index]
        for op in graph.quantable_operations
        for side, index, config in op.config.slots()
        if config.row == row
        and is_executed(config)
        and (op.inputs if side == "in" else op.outputs)[index] not in graph.parameters
    ]


def _group(subject: Subject, place: Place) -> Group:
    return next(group for group in subject.groups if place.operation in group.operations)
