"""Ranges that are worth trying for an activation, from its statistics."""

from __future__ import annotations

from collections.abc import Iterator

from quantable.ir import TensorQuantizationConfig, ValueStatistics
from quantable.passes.calibrate.methods import METHODS

PERCENTILES = (99.9, 99.99)
WIDENINGS = (0.8, 0.9, 1.1, 1.25)
"""Of the range with the least squared error; never beyond what was seen."""


def candidate_ranges(
    statistics: ValueStatistics, config: TensorQuantizationConfig
) -> Iterator[tuple[str, float, float]]:
    """Yield (name, low, high) of each different range; the plain ones come first."""
    seen: set[tuple[float, float]] = set()
    for name, low, high in _all(statistics, config):
        if (low, high) not in seen:
            seen.add((low, high))
            yield name, low, high


def _all(
    statistics: ValueStatistics, config: TensorQuantizationConfig
) -> Iterator[tuple[str, float, float]]:
    low, high = METHODS["mse"](statistics, config, 100.0)
    yield "mse", low, high
    yield "minmax", *METHODS["minmax"](statistics, config, 100.0)
    for percentile in PERCENTILES:
        name = f"percentile {percentile:g}"
        yield name, *METHODS["percentile"](statistics, config, percentile)
    for share in WIDENINGS:
        ends = max(low * share, statistics.minimum), min(high * share, statistics.maximum)
        yield f"mse times {share:g}", *ends
    yield "kl", *METHODS["kl"](statistics, config, 100.0)
