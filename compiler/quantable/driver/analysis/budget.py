"""The network's error, split into what each tensor's quantization adds to it.

The float network becomes the quantized one in steps: in topological order, each operation's inputs
are clipped, then rounded, then its weights, its bias, and its output. A step changes the outputs by
a difference d; all differences add up to the whole error e, since the first network of each step
is the last one of the step before. The noise of a step is its projection <d, e>. These add up to
<e, e>, the noise of the network, whatever the network and the order are.

Where the network is linear in its errors, a step's noise does not depend on the order either: it is
then the Shapley value of the game whose worth is the noise of what is switched on, for <d, e> is
|d|^2 plus its half of the cross terms 2 <d, d'> with every other step. It is negative where an
error cancels others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from quantable.driver.analysis.forms import Form, Values, rerun
from quantable.driver.analysis.grids import FINE_BITS, Place, beyond, is_linear, with_refined
from quantable.driver.analysis.groups import is_executed
from quantable.driver.analysis.shifts import BIAS_SLOT, OUTPUT_AXIS
from quantable.driver.analysis.subject import Pair, Subject, named
from quantable.ir import Graph, QuantableOperation, Relation, TensorQuantizationConfig

CATEGORIES: dict[str, str] = {
    "weight_clipping": "a parameter, clipped to the ends of its grid",
    "weight_rounding": "a parameter, rounded; all else that passes did to it",
    "correction": "what passes added to a bias",
    "bias": "a bias, rounded, and clipped to the ends of its grid",
    "activation_clipping": "a tensor, clipped to the ends of its grid",
    "activation_rounding": "a tensor, rounded where an operation reads it",
    "requantization": "what an operation computed, rounded to its output's grid",
}
"""Every part of the budget and what it is."""


@dataclass
class Step:
    """One step from the float network to the quantized one.

    Attributes:
        place: The slot.
        category: See `CATEGORIES`.
        form: The form of the operation after the step.
        is_needless: Whether nothing is clipped: the step changes nothing, and is not run. None
            where that depends on the tensor.
        noise: By measured value, the projections on the error, summed over samples.
    """

    place: Place
    category: str
    form: Form
    is_needless: bool | None
    noise: dict[str, float] = field(default_factory=dict)


class Budget:
    """Splits the network's error.

    Attributes:
        steps: In the order in which they are taken.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self.steps = list(_steps(subject.graph))
        self._signal = dict.fromkeys(subject.measured, 0.0)
        for step in self.steps:
            step.noise.update(dict.fromkeys(subject.measured, 0.0))

    def add(self, pair: Pair) -> None:
        """Add one sample."""
        values, real = dict(pair.real), self._subject.float_form
        error = {n: _reals(pair.quantized[n]) - _reals(pair.real[n]) for n in self._signal}
        for name in self._signal:
            self._signal[name] += _dot(_reals(pair.real[name]), _reals(pair.real[name]))
        for step in self.steps:
            if _is_needless(self._subject.graph, step, values):
                continue
            new = rerun(values, {step.place.operation}, step.form, real)
            for name in new.keys() & error.keys():
                difference = _reals(new[name]) - _reals(values[name])
                step.noise[name] += _dot(difference, error[name])
            values.update(new)

    def noise(self, step: Step) -> float:
        """Return a step's part of the network's noise (see `measures.noise`)."""
        parts = [noise / (self._signal[name] or 1.0) for name, noise in step.noise.items()]
        return sum(parts) / len(parts)

    def places(self) -> list[Place]:
        """Return the slots, the one with the largest part of the noise first."""
        parts: dict[Place, float] = {}
        for step in self.steps:
            parts[step.place] = parts.get(step.place, 0.0) + self.noise(step)
        return sorted(parts, key=lambda place: -parts[place])

    def facts(self) -> dict[str, object]:
        """Return the budget as JSON values: by category, and by tensor."""
        graph = self._subject.graph
        total = sum(self.noise(step) for step in self.steps)
        by_category = dict.fromkeys(CATEGORIES, 0.0)
        by_place: dict[Place, dict[str, float]] = {}
        for step in self.steps:
            by_category[step.category] += self.noise(step)
            by_place.setdefault(step.place, {})[step.category] = self.noise(step)
        tensors = [
            {
                "tensor": place.value(graph), "slot": str(place),
                **named(graph.operation_by_name[place.operation]), "noise": parts,
                "share": _share(sum(parts.values()), total),
            }
            for place, parts in by_place.items()
        ]  # fmt: skip
        shares = {name: _share(noise, total) for name, noise in by_category.items()}
        return {"noise": total, "categories": by_category, "shares": shares, "tensors": tensors}


def _share(noise: float, total: float) -> float | None:
    return noise / total if total > 0 else None


def _steps(graph: Graph) -> Iterator[Step]:
    for op in graph.quantable_operations:
        present = graph.with_operation(op.dequantize())
        for place in _places(graph, op):
            restored = _with_config(present, place, place.config(graph))
            yield from _before_rounding(graph, present, restored, place)
            present = restored
            first, rounding = _categories(graph, place)
            if first != "correction" or is_executed(place.config(graph)):
                yield Step(place, rounding, Form(present), False)


def _before_rounding(graph: Graph, present: Graph, restored: Graph, place: Place) -> Iterator[Step]:
    """Yield the steps that a slot takes before it is quantized as it is in the end."""
    config, (first, _) = place.config(graph), _categories(graph, place)
    if first == "correction":
        if _is_changed(graph, place):  # the present contents, not quantized
            corrected = _with_config(present, place, TensorQuantizationConfig())
            yield Step(place, first, Form(corrected), False)
    elif is_executed(config) and is_linear(config):
        needless = None
        if place.is_parameter(graph):
            original = graph.store.get(place.original(graph))
            needless = not beyond(original, config, graph.rows[config.row]).any()
        yield Step(place, first, Form(with_refined(restored, place, FINE_BITS)), needless)


def _places(graph: Graph, op: QuantableOperation) -> list[Place]:
    """Return the slots that make a difference, inputs first, then parameters, then outputs.

    A parameter that is not quantized makes one where a pass changed it: a bias that stays float.
    """
    places = [Place(op.name, side, index) for side, index, _ in op.config.slots()]
    found = []
    for place in places:
        if place.is_parameter(graph):
            if _is_changed(graph, place) or is_executed(place.config(graph)):
                found.append((1, place))
        elif is_executed(place.config(graph)):
            found.append((2 if place.side == "out" else 0, place))
    return [place for _, place in sorted(found, key=lambda entry: entry[0])]


def _is_changed(graph: Graph, place: Place) -> bool:
    return graph.parameters[place.value(graph)] != place.original(graph)


def _with_config(present: Graph, place: Place, config: TensorQuantizationConfig) -> Graph:
    op = present.operation_by_name[place.operation]
    assert isinstance(op, QuantableOperation)
    return present.with_operation(op.with_slot(place.side, place.index, config))


def _categories(graph: Graph, place: Place) -> tuple[str, str]:
    """Return the category of what comes before rounding, and that of rounding."""
    relation = place.config(graph).relation
    is_bias_slot = place.index == BIAS_SLOT and place.side == "in"
    kind = graph.operation_by_name[place.operation].kind
    if relation is Relation.DERIVED or (is_bias_slot and kind in OUTPUT_AXIS):
        return "correction", "bias"
    # Bounds of a Clip share a tensor's grid: they clip and round it.
    if place.is_parameter(graph) and relation is not Relation.SHARED:
        return "weight_clipping", "weight_rounding"
    rounding = "activation_rounding" if place.side == "in" else "requantization"
    return "activation_clipping", rounding


def _is_needless(graph: Graph, step: Step, values: Values) -> bool:
    if step.is_needless is not None:
        return step.is_needless
    config = step.place.config(graph)
    value = values[step.place.value(graph)]
    return not beyond(value, config, graph.rows[config.row]).any()


def _reals(array: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    return array.astype(np.float64).reshape(-1)


def _dot(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> float:
    # Not by BLAS, whose sums depend on the number of threads.
    return float(np.einsum("i,i->", left, right))
