"""What in a network or its calibration data makes a quantization doubtful: one table of checks.

Each check reads the float graph and its profile alone, so that `observe` and `compile` say the
same. Nothing is refused here: what cannot be quantized at all is an error elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from quantable.ir import Graph, Operation, Profile
from quantable.ir.profile import INPUT_CHANNEL_AXIS, ValueStatistics, bin_edges

FEW_SAMPLES = 4
"""Fewer say little about ranges; passes that judge on held-out samples refuse them."""
OUTLIER = 1000.0
"""How many times a number is larger than nearly all others where it is an outlier: with steps that
reach it, all others would be less than one step of 8 bits."""
BULK = 0.999
"""Share of the elements that are "nearly all"."""
Remark = tuple[str, str, str]
Check = Callable[[Graph, Profile], Iterator[tuple[str, str]]]
"""Yields (place, text)."""


def calibration_warnings(graph: Graph, profile: Profile) -> list[Remark]:
    """Return what is doubtful as (check, place, text), in the order of the table.

    Args:
        graph: The float graph that was measured.
        profile: Its statistics.
    """
    return [
        (name, place, text)
        for name, check in WARNINGS.items()
        for place, text in check(graph, profile)
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
                f"reaches {largest:g}, and {BULK:.1%} of what is not 0 stays below {usual:.3g}: "
                "look for a broken sample; ranges of least error clip it, extrema would not",
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
        empty = zero_outputs(op, graph.array(op.inputs[1]))
        if empty.any():
            yield (
                op.where(),
                f"weight '{op.inputs[1]}': {int(empty.sum())} of {empty.size} output channels are "
                "all zeros; their outputs never change: look at how the network was exported",
            )


def zero_outputs(op: Operation, weights: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    """Return which outputs have weights of 0 alone; each group of a ConvTranspose has its own."""
    kept = {0} if op.kind == "Conv" else {1}
    if op.kind == "ConvTranspose":
        weights = weights.reshape(op.int_attribute("group", 1), -1, *weights.shape[1:])
        kept = {0, 2}
    others = tuple(other for other in range(weights.ndim) if other not in kept)
    found: npt.NDArray[np.bool_] = ~weights.any(axis=others).reshape(-1)
    return found


WARNINGS: Mapping[str, Check] = MappingProxyType({
    "few-samples": _few_samples,
    "constant-value": _constant_values,
    "outlier": _outliers,
    "silent-channels": _silent_channels,
    "zero-weights": _zero_weights,
})  # fmt: skip
"""Every check by name, in the order in which it is told."""
