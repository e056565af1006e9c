"""What is analysed: a quantized network, the float one inside it, and samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from quantable.driver.analysis.forms import Array, Form, Values
from quantable.driver.analysis.groups import Group, groups, is_executed
from quantable.driver.analysis.measures import Totals
from quantable.driver.data import Sample, Samples
from quantable.ir import (
    DataError,
    Graph,
    Level,
    Operation,
    OptionError,
    QuantableOperation,
    State,
    UnknownNameError,
)

Progress = Callable[[int, int], None]
_ANSWERS = ("ArgMax", "LogSoftmax", "Softmax")
"""Operations that turn scores into an answer. Where they end a network in float, what they are
given is measured: a probability next to 1 hides any error."""


@dataclass(frozen=True)
class Subject:
    """A network and the data it is analysed with.

    Attributes:
        graph: The quantable graph.
        float_form, quantized_form: Its two forms.
        groups: What is quantized together.
        measured: The values at which a network's error is measured.
        samples: The inputs.
        ranges: Extrema of every value of the float network, over all samples.
    """

    graph: Graph
    float_form: Form
    quantized_form: Form
    groups: tuple[Group, ...]
    measured: tuple[str, ...]
    samples: Samples
    ranges: dict[str, tuple[float, float]]

    def totals(self, value: str) -> Totals:
        """Return empty sums for a value."""
        return Totals(*self.ranges[value])

    def totals_at_outputs(self) -> dict[str, Totals]:
        """Return empty sums for every measured value."""
        return {name: self.totals(name) for name in self.measured}


@dataclass(frozen=True)
class Pair:
    """One sample's values in both networks.

    Attributes:
        real: Every value of the float network.
        quantized: Every value of the quantized network.
    """

    real: Values
    quantized: Values


def subject(
    graph: Graph, samples: Samples, at: Sequence[str] = (), progress: Progress | None = None
) -> Subject:
    """Look at a graph and at the data that it is analysed with.

    Args:
        graph: A quantable graph, calibrated.
        samples: Its inputs.
        at: Names of the values at which the network's error is measured; by default its outputs.
        progress: Told about every sample.

    Raises:
        OptionError: The graph is not quantized or not calibrated.
        UnknownNameError: There is no value to measure at.
        DataError: A value of the float network is not finite.
    """
    require_calibrated(graph)
    float_form = Form(graph.dequantized())
    ranges: dict[str, tuple[float, float]] = {}
    for number, sample in enumerate(samples, 1):
        _widen(ranges, float_form.run(sample), f"sample {number - 1}")
        if progress is not None:
            progress(number, len(samples))
    measured = _measured(graph, at)
    return Subject(graph, float_form, Form(graph), groups(graph), measured, samples, ranges)


def pairs(subject: Subject, progress: Progress | None = None) -> Iterator[Pair]:
    """Yield the values of both networks, sample by sample."""
    for number, sample in enumerate(subject.samples, 1):
        yield pair(subject, sample, f"sample {number - 1}")
        if progress is not None:
            progress(number, len(subject.samples))


def pair(subject: Subject, sample: Sample, where: str = "") -> Pair:
    """Return the values of both networks for one sample."""
    found = Pair(subject.float_form.run(sample), subject.quantized_form.run(sample))
    for name, array in found.quantized.items():
        _extrema(name, array, "quantized", where)
    return found


def require_calibrated(graph: Graph) -> None:
    """Refuse a graph of which nothing, or not everything, is quantized.

    Raises:
        OptionError: Says what to do first.
    """
    if graph.level is not Level.QUANTABLE:
        raise OptionError(
            f"expected a graph of level quantable, found {graph.level.value}",
            help="analyse the stage before `quantable lower`; numbers of later stages are compared "
            "by: quantable compare"
            if graph.level is not Level.FLOAT
            else "quantize and calibrate it first: quantable quantize, quantable calibrate",
        )
    slots = [
        (f"{op.where()} {side}{index}", config)
        for op in graph.quantable_operations
        for side, index, config in op.config.slots()
    ]
    waiting = [where for where, config in slots if config.state is State.INITIAL]
    if waiting:
        raise OptionError(
            f"{len(waiting)} slots have no scale yet, the first is that of {waiting[0]}",
            help="calibrate the graph first: quantable calibrate",
        )
    if not any(is_executed(config) for _, config in slots):
        raise OptionError(
            f"no slot of the graph is quantized: expected at least one of {len(slots)}",
            help="quantize it for a target first, or restore what is dequantized",
        )


def _widen(ranges: dict[str, tuple[float, float]], values: Values, where: str) -> None:
    for name, array in values.items():
        low, high = _extrema(name, array, "float", where)
        held = ranges.get(name, (low, high))
        ranges[name] = min(low, held[0]), max(high, held[1])


def _extrema(name: str, array: Array, network: str, where: str) -> tuple[float, float]:
    if not array.size or array.dtype.kind not in "fiu":
        return 0.0, 0.0
    low, high = float(array.min()), float(array.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        found = "NaN" if math.isnan(low) or math.isnan(high) else "infinity"
        raise DataError(
            f"value '{name}' of the {network} network: expected finite numbers, found {found}",
            where=where,
            help="the input is finite: look for weights that are not, and for samples outside the "
            "range that the network was trained on",
        )
    return low, high


def _measured(graph: Graph, at: Sequence[str]) -> tuple[str, ...]:
    for name in at:
        if name not in graph.values or graph.is_parameter(name):
            known = [n for n in graph.values if not graph.is_parameter(n)]
            raise UnknownNameError("value", name, known)
    names = at or [_scores(graph, name) for name in graph.outputs]
    found = dict.fromkeys(name for name in names if not graph.is_parameter(name))
    return tuple(name for name in found if graph.values[name].is_real)


def _scores(graph: Graph, name: str) -> str:
    op = graph.producers.get(name)
    if op is None or op.kind not in _ANSWERS or isinstance(op, QuantableOperation):
        return name
    return _scores(graph, op.inputs[0])


def named(op: Operation) -> dict[str, object]:
    """Return how facts name an operation."""
    return {"operation": op.name, "kind": op.kind, "sources": list(op.sources)}
