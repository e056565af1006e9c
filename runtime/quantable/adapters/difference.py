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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from quantable.ir import (
    DType,
    Graph,
    QuantizationParameters,
    TensorQuantizationConfig,
    numerics,
)

Array = npt.NDArray[np.generic]
TIE_DISTANCE = 2.0**-11
"""In steps of an 8-bit quantizer: a float32 sum of some thousand products of 8 bits is that exact
(up to 2**-14 was seen on real networks). Each bit more halves the step, but not that error."""
USUAL_BITS = 8
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
        operation: The operation that makes the value, or whose input slot quantizes it.
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
    quantizers = tuple(_quantizers(graph, real_values))
    names = _observable(graph)
    report = DifferenceReport()
    for number, inputs in enumerate(samples):
        mine = ours.run(inputs, names)
        other = theirs.run(inputs, [*names, *real_values.values()])
        gaps = [_gap(quantizer, mine, other) for quantizer in quantizers]
        _count(report, graph, gaps, mine, other)
        first = _first(number, graph, quantizers, gaps, mine, other)
        cause = Cause.NONE if first is None else first.cause
        report.causes[cause] = report.causes.get(cause, 0) + 1
        report.first += [] if first is None else [first]
    return report


@dataclass(frozen=True, slots=True)
class _Quantizer:
    """One place where real numbers become integers.

    Attributes:
        value: The tensor.
        where: The slot, for people.
        real: What `theirs` calls the numbers before the quantizer.
        is_output: Whether `value` is what comes after it; else a consumer quantizes `value`.
        config, row: How.
    """

    value: str
    where: str
    real: str
    is_output: bool
    config: TensorQuantizationConfig
    row: QuantizationParameters


def _quantizers(graph: Graph, real_values: Mapping[str, str]) -> Iterator[_Quantizer]:
    """Yield the quantizers of activations in topological order, each tensor and row once."""
    seen: set[tuple[str, str]] = set()
    # Inputs and parameters are the same in both runtimes: nothing can differ there.
    same = {*graph.inputs, *graph.parameters, ""}
    for op in graph.quantable_operations:
        for side, index, config in op.config.slots():
            name = (op.inputs if side == "in" else op.outputs)[index]
            key = (name, config.row)
            if name in same or not config.state.is_in_force or key in seen:
                continue
            seen.add(key)
            is_output = side == "out"
            yield _Quantizer(
                name, op.where() if is_output else f"{op.where()} {side}{index}",
                real_values[name] if is_output else name, is_output, config, graph.rows[config.row],
            )  # fmt: skip


def _gap(
    quantizer: _Quantizer, ours: Mapping[str, Array], theirs: Mapping[str, Array]
) -> npt.NDArray[np.float64]:
    """Return by how many steps the two runtimes differ behind a quantizer."""
    mine, other = (np.asarray(side[quantizer.value], np.float32) for side in (ours, theirs))
    if not quantizer.is_output:
        config, row = quantizer.config, quantizer.row
        steps = numerics.quantize(mine, config, row) - numerics.quantize(other, config, row)
        return np.asarray(np.abs(steps), np.float64)
    gap: npt.NDArray[np.float64] = np.abs(mine.astype(np.float64) - other.astype(np.float64))
    return np.asarray(gap / _scale(quantizer, mine.ndim), np.float64)


def _scale(quantizer: _Quantizer, rank: int) -> npt.NDArray[np.float64]:
    scale = quantizer.row.scale_array
    axis = quantizer.config.channel_axis
    return np.asarray(numerics.broadcast_channels(scale, rank, axis), np.float64)


def _observable(graph: Graph) -> list[str]:
    names = [name for op in graph.operations for name in op.outputs if name]
    values = {name: graph.values[name] for name in names}
    outputs = {*graph.outputs}
    return [
        n for n, value in values.items()
        if (value.is_real and value.dtype is DType.FLOAT32) or n in outputs
    ]  # fmt: skip


def _count(
    report: DifferenceReport,
    graph: Graph,
    gaps: Sequence[npt.NDArray[np.float64]],
    ours: Mapping[str, Array],
    theirs: Mapping[str, Array],
) -> None:
    report.samples += 1
    for name in graph.outputs:
        gap = _distances(ours[name], theirs[name])
        report.elements += gap.size
        report.differing += int(np.count_nonzero(gap))
        report.beyond_rounding += int(np.count_nonzero(gap > _tolerance(theirs[name])))
        report.largest = max(report.largest, float(gap.max(initial=0)))
    for gap in gaps:
        report.quantized += gap.size
        report.quantized_differing += int(np.count_nonzero(gap))


def _distances(ours: Array, theirs: Array) -> npt.NDArray[np.float64]:
    """Return how far elements lie apart: infinitely in shapes that differ, as data may decide."""
    if ours.shape != theirs.shape:
        return np.full(max(ours.size, theirs.size, 1), np.inf)
    return np.asarray(np.abs(ours.astype(np.float64) - theirs.astype(np.float64)), np.float64)


def _element(values: Array, index: tuple[int, ...]) -> float:
    """Return an element, NaN where an array of another shape has none at the place."""
    is_inside = len(index) == values.ndim and all(
        i < dim for i, dim in zip(index, values.shape, strict=True)
    )
    return float(values[index]) if is_inside else float("nan")


def _tolerance(values: Array) -> float:
    """Return what rounding may change: nothing where elements are no real numbers."""
    if not np.issubdtype(values.dtype, np.floating):
        return 0.0
    return ROUNDING * float(np.abs(values.astype(np.float64)).max(initial=0))


def _first(
    sample: int,
    graph: Graph,
    quantizers: Sequence[_Quantizer],
    gaps: Sequence[npt.NDArray[np.float64]],
    ours: Mapping[str, Array],
    theirs: Mapping[str, Array],
) -> FirstDifference | None:
    """Return the first quantizer behind which something differs, else the first such output."""
    for quantizer, steps in zip(quantizers, gaps, strict=True):
        if steps.any():
            index, distance = _tie_distance(quantizer, steps, theirs[quantizer.real])
            allowed = TIE_DISTANCE * 2.0 ** max(quantizer.config.bits - USUAL_BITS, 0)
            is_tie = distance <= allowed and float(steps.max()) < 1.5
            cause = Cause.ROUNDING_AT_TIE if is_tie else Cause.OTHER
            name, where = quantizer.value, quantizer.where
            pair = float(ours[name][index]), float(theirs[name][index])
            return FirstDifference(sample, name, where, index, *pair, distance, cause)
    for name in graph.outputs:
        gap = _distances(ours[name], theirs[name])
        if gap.any():
            index = _largest(gap)
            within = float(gap[index]) <= _tolerance(theirs[name])
            cause = Cause.FLOAT_ROUNDING if within else Cause.OTHER
            where = graph.producers[name].where()
            pair = _element(ours[name], index), _element(theirs[name], index)
            return FirstDifference(sample, name, where, index, *pair, None, cause)
    return None


def _tie_distance(
    quantizer: _Quantizer, steps: npt.NDArray[np.float64], real: Array
) -> tuple[tuple[int, ...], float]:
    """Return the differing element that lies furthest from a tie, and how far, in steps."""
    exact = real.astype(np.float64) / _scale(quantizer, real.ndim)
    distances = np.where(steps > 0, np.abs(exact - np.floor(exact) - 0.5), -1.0)
    index = _largest(distances)
    return index, float(distances[index])


def _largest(values: npt.NDArray[np.float64]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(values)), values.shape))
