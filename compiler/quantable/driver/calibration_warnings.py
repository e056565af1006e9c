"""What in a network or its calibration data makes a quantization doubtful: one table of checks.

Each check reads the float graph and its profile alone, so that `observe` and `compile` say the
same. Nothing is refused here: what cannot be quantized at all is an error elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantable.ir import Graph, Profile
from quantable.ir.profile import INPUT_CHANNEL_AXIS, ValueStatistics, bin_edges

FEW_SAMPLES = 4
"""Fewer say little about ranges; passes that judge on held-out samples refuse them."""
OUTLIER = 1000.0
"""How many times a number is larger than nearly all others where it is an outlier: with steps that
reach it, all others would be less than one step of 8 bits."""
BULK = 0.999
"""Share of the elements that are "nearly all"."""
_OUTPUT_AXIS = {"Conv": 0, "ConvTranspose": 1, "quantable.Linear": 1}
Remark = tuple[str, str, str]
Check = Callable[[Graph, Profile], Iterator[tuple[str, str]]]
"""Yields (place, text)."""


@dataclass(frozen=True, slots=True)
class Warned:
    """One row of the table.

    Attributes:
        name: The key of the check.
        check: What looks.
    """

    name: str
    check: Check


def calibration_warnings(graph: Graph, profile: Profile) -> list[Remark]:
    """Return what is doubtful as (check, place, text), in the order of the table.

    Args:
        graph: The float graph that was measured.
        profile: Its statistics.
    """
    return [
        (row.name, place, text)
        for row in WARNINGS
        for place, text in row.check(graph, profile)
    ]  # fmt: skip


def _few_samples(graph: Graph, profile: Profile) -> Iterator[tuple[str, str]]:
    count = profile.sample_count
    if count < FEW_SAMPLES:
        yield (
            f"graph '{graph.name}'",
            f"expected at least {FEW_SAMPLES} samples, found {count}: ranges may be far from those "
            "that other data needs; give 64 or more",
        )


def _constant_values(_: Graph, profile: Profile) -> Iterator[tuple[str, str]]:
    for name, held in profile.statistics.items():
        if held.minimum == held.maximum and held.count > profile.sample_count:
            yield (
                f"value '{name}'",
                f"every element is {held.minimum:g} in all {profile.sample_count} samples: no "
                "range can be learned; look at the samples, and at what makes the value",
            )


def _outliers(_: Graph, profile: Profile) -> Iterator[tuple[str, str]]:
    for name, held in profile.statistics.items():
        largest, usual = max(abs(held.minimum), abs(held.maximum)), _usual(held)
        if usual > 0 and largest > OUTLIER * usual:
            yield (
                f"value '{name}'",
                f"reaches {largest:g}, and {BULK:.1%} of its elements stay below {usual:.3g}: look "
                "for a broken sample; ranges of least error clip such numbers, extrema would not",
            )


def _usual(held: ValueStatistics) -> float:
    """Return what all but the largest magnitudes stay below, zeros left out."""
    low, high = bin_edges(held.bins)
    magnitude = np.maximum(np.abs(low), np.abs(high))
    order = np.argsort(magnitude, kind="stable")
    is_zero = np.minimum(np.abs(low), np.abs(high))[order] == 0
    counts = np.where(is_zero, 0, held.counts[order])
    total = counts.sum()
    if not total:
        return 0.0
    return float(magnitude[order][np.searchsorted(np.cumsum(counts), BULK * total)])


def _silent_channels(_: Graph, profile: Profile) -> Iterator[tuple[str, str]]:
    for (name, _axis), means in profile.channel_means.items():
        held = profile.statistics[name]
        # Of numbers that are never negative, those with a mean of 0 are all 0.
        if not means.sums or held.minimum < 0 or held.minimum == held.maximum:
            continue
        silent = sum(total == 0 for total in means.sums)
        if silent:
            yield (
                f"value '{name}'",
                f"{silent} of {len(means.sums)} channels are 0 in every sample; weights that read "
                "them can stretch scales (pass 'silence-channels' clears what is provably dead)",
            )


def _zero_weights(graph: Graph, _: Profile) -> Iterator[tuple[str, str]]:
    for op in graph.operations:
        if op.kind not in INPUT_CHANNEL_AXIS or op.inputs[1] not in graph.parameters:
            continue
        weights = graph.array(op.inputs[1])
        empty = _zero_channels(weights, _OUTPUT_AXIS[op.kind])
        if empty.any():
            yield (
                op.where(),
                f"weight '{op.inputs[1]}': {int(empty.sum())} of {empty.size} output channels are "
                "all zeros; they are quantized with the smallest scale",
            )


def _zero_channels(weights: npt.NDArray[np.generic], axis: int) -> npt.NDArray[np.bool_]:
    others = tuple(other for other in range(weights.ndim) if other != axis)
    found: npt.NDArray[np.bool_] = ~(weights != 0).any(axis=others)
    return found


WARNINGS = (
    Warned("few-samples", _few_samples),
    Warned("constant-value", _constant_values),
    Warned("outlier", _outliers),
    Warned("silent-channels", _silent_channels),
    Warned("zero-weights", _zero_weights),
)
"""Every check, in the order in which it is told."""
