"""The range that holds a given share of all elements."""

from __future__ import annotations

import numpy as np

from quantable.ir import TensorQuantizationConfig, ValueStatistics
from quantable.passes.calibrate.density import Density


def percentile_range(
    statistics: ValueStatistics, config: TensorQuantizationConfig, percentile: float
) -> tuple[float, float]:
    """Return the quantiles 100 - percentile and percentile, linear inside a bin.

    Args:
        statistics: Of the value.
        config: Not used; the quantiles do not depend on the grid.
        percentile: In percent, 50 to 100; 100 is the same as min-max.
    """
    del config
    density = Density.of(statistics)
    edges = np.concatenate([density.lower[:1], density.upper])
    cumulative = np.concatenate([[0.0], np.cumsum(density.mass)])
    target = np.asarray([100.0 - percentile, percentile]) / 100.0 * cumulative[-1]
    index = np.clip(np.searchsorted(cumulative, target, side="left") - 1, 0, len(edges) - 2)
    share = (target - cumulative[index]) / density.mass[index]
    found = density.lower[index] + share * (density.upper[index] - density.lower[index])
    low, high = np.clip(found, statistics.minimum, statistics.maximum)
    return float(low), float(high)
