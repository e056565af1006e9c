"""How two runtimes of one quantable graph differ, where first, and why.

Both execute simulated quantization in float32. Given the same integers, a convolution's float sum
still depends on the order in which a runtime adds, and exp or erf on its approximation, by some
units in the last place. Where such a number lies next to a tie of the quantizer behind it, the two
round to neighbouring integers; what follows in that sample is a consequence. So each sample is
followed to the first value whose integers differ, and the distance to the tie is measured there:
the cause is named, not assumed.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from quantable.ir import (
    DType,
    Graph,
    QuantableOperation,
    QuantizationParameters,
    TensorQuantizationConfig,
)
from quantable.ir.numerics import broadcast_channels

Array = npt.NDArray[np.generic]
TIE_DISTANCE = 2.0**-9
"""In quantization steps: a float32 sum of some thousand products of 8 bits is that exact."""
ROUNDING = 2.0**-14
"""Relative to the largest element: what the order of a float32 sum may change."""


class Runner(Protocol):
    """Either runtime."""

    def run(
        self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None
    ) -> dict[str, Array]:
        """Return the named values."""
        ...


class Cause(enum.Enum):
    """Why two runtimes differ in a sample."""

    NONE = "equal"
    FLOAT_ROUNDING = "float32 rounding behind the last quantizer"
    ROUNDING_AT_TIE = "float32 rounding at a tie of a quantizer"
    OTHER = "unexplained"


@dataclass(frozen=True)
class FirstDifference:
    """The first value of a sample that differs.

    Attributes:
        sample: Number of the sample.
        value, element: Where.
        operation: The operation that makes the value.
        ours, theirs: What the runtimes computed there.
        tie_distance: Distance of the real value from the quantizer's tie, in steps; None where the
            value is not quantized.
        cause: The classification.
    """

    sample: int
    value: str
    operation: str
    element: tuple[int, ...]
    ours: float
    theirs: float
    tie_distance: float | None
    cause: Cause


@dataclass
class DifferenceReport:
    """What a comparison found.

    Attributes:
        samples: Number of samples.
        elements, differing: Elements of the graph's outputs, and those that are not equal.
        beyond_rounding: Those that differ by more than the order of a float sum explains.
        largest: Largest absolute difference of an output element.
        quantized, quantized_differing: Elements of all quantized values, and those that differ.
        causes: Number of samples by cause.
        first: Each sample's first difference, as far as there is one.
    """

    samples: int = 0
    elements: int = 0
    differing: int = 0
    beyond_rounding: int = 0
    largest: float = 0.0
    quantized: int = 0
    quantized_differing: int = 0
    causes: dict[Cause, int] = field(default_factory=dict)
    first: list[FirstDifference] = field(default_factory=list)

    @property
    def is_explained(self) -> bool:
        """Whether every difference has a cause that the conditions of equality name."""
        return self.causes.get(Cause.OTHER, 0) == 0

    def facts(self) -> dict[str, object]:
        """Return the report as JSON values."""
        first = min(self.first, key=lambda f: f.sample, default=None)
        return {
            "samples": self.samples,
            "elements": self.elements,
            "differing": self.differing,
            "beyond_rounding": self.beyond_rounding,
            "largest_difference": self.largest,
            "quantized_elements": self.quantized,
            "quantized_differing": self.quantized_differing,
            "causes": {cause.value: count for cause, count in self.causes.items()},
            "first": None if first is None else _facts(first),
        }


def _facts(first: FirstDifference) -> dict[str, object]:
    return {
        "sample": first.sample,
        "value": first.value,
        "operation": first.operation,
        "element": list(first.element),
        "ours": first.ours,
        "theirs": first.theirs,
        "tie_distance": first.tie_distance,
        "cause": first.cause.value,
    }


def compare(
    graph: Graph,
    ours: Runner,
    theirs: Runner,
    real_values: Mapping[str, str],
    samples: Iterable[Mapping[str, Array]],
) -> DifferenceReport:
    """Run both on every sample and name the cause of each difference.

    Args:
        graph: At quantable level.
        ours: The reference.
        theirs: Returns every float activation by its name, and the real values.
        real_values: By quantized value, the name of what `theirs` gives its quantizer.
        samples: Inputs by name.
    """
    quantizers = _quantizers(graph)
    report = DifferenceReport()
    for number, inputs in enumerate(samples):
        names = _observable(graph)
        mine = ours.run(inputs, names)
        other = theirs.run(inputs, [*names, *real_values.values()])
        _count(report, graph, quantizers, mine, other)
        first = _first(number, graph, quantizers, mine, other, real_values)
        cause = Cause.NONE if first is None else first.cause
        report.causes[cause] = report.causes.get(cause, 0) + 1
        report.first += [] if first is None else [first]
    return report


_Quantizers = Mapping[str, tuple[TensorQuantizationConfig, QuantizationParameters]]


def _quantizers(graph: Graph) -> _Quantizers:
    """Return the quantizer of every value whose producer's slot quantizes it."""
    return {
        name: (config, graph.rows[config.row])
        for op in graph.operations
        if isinstance(op, QuantableOperation)
        for name, config in zip(op.outputs, op.config.outputs, strict=True)
        if name and config.state.is_in_force
    }


def _observable(graph: Graph) -> list[str]:
    names = [name for op in graph.operations for name in op.outputs if name]
    return [name for name in names if graph.values[name].dtype is DType.FLOAT32]


def _count(
    report: DifferenceReport,
    graph: Graph,
    quantizers: _Quantizers,
    ours: Mapping[str, Array],
    theirs: Mapping[str, Array],
) -> None:
    report.samples += 1
    for name in graph.outputs:
        gap = np.abs(ours[name].astype(np.float64) - theirs[name].astype(np.float64))
        report.elements += gap.size
        report.differing += int(np.count_nonzero(gap))
        report.beyond_rounding += int(np.count_nonzero(gap > _tolerance(theirs[name])))
        report.largest = max(report.largest, float(gap.max(initial=0)))
    for name in quantizers:
        report.quantized += ours[name].size
        report.quantized_differing += int(np.count_nonzero(ours[name] != theirs[name]))


def _tolerance(values: Array) -> float:
    return ROUNDING * float(np.abs(values.astype(np.float64)).max(initial=0))


def _first(
    sample: int,
    graph: Graph,
    quantizers: _Quantizers,
    ours: Mapping[str, Array],
    theirs: Mapping[str, Array],
    real_values: Mapping[str, str],
) -> FirstDifference | None:
    """Return the first quantized value that differs, else the first output that does."""
    for name in (*[n for n in _observable(graph) if n in quantizers], *graph.outputs):
        gap = np.abs(ours[name].astype(np.float64) - theirs[name].astype(np.float64))
        if not gap.any():
            continue
        distance = None
        if name in quantizers:
            real = theirs[real_values[name]]
            index, distance, cause = _at_quantizer(gap, real, *quantizers[name])
        else:
            index = _largest(gap)
            within = float(gap[index]) <= _tolerance(theirs[name])
            cause = Cause.FLOAT_ROUNDING if within else Cause.OTHER
        where = graph.producers[name].where()
        pair = float(ours[name][index]), float(theirs[name][index])
        return FirstDifference(sample, name, where, index, *pair, distance, cause)
    return None


def _at_quantizer(
    gap: npt.NDArray[np.float64],
    real: Array,
    config: TensorQuantizationConfig,
    row: QuantizationParameters,
) -> tuple[tuple[int, ...], float, Cause]:
    """Classify the differences at a quantizer; of several elements the worst one decides."""
    scale = broadcast_channels(row.scale_array, real.ndim, config.channel_axis)
    distances = np.where(gap > 0, _tie_distances(real, scale), -1.0)
    index = _largest(distances)
    is_one_step = bool((gap / scale < 1.5).all())
    is_tie = float(distances[index]) <= TIE_DISTANCE and is_one_step
    return index, float(distances[index]), Cause.ROUNDING_AT_TIE if is_tie else Cause.OTHER


def _tie_distances(real: Array, scale: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return how far real values lie from the nearest tie, in steps of the quantizer."""
    steps = real.astype(np.float64) / scale.astype(np.float64)
    return np.asarray(np.abs(steps - np.floor(steps) - 0.5), np.float64)


def _largest(values: npt.NDArray[np.float64]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(values)), values.shape))
