"""Scales of floating numbers, and scale 1, for activations.

A power of two times a floating format is the same format, shifted: only numbers at its two ends are
rounded in another way. A few scales below the smallest that clips nothing are tried.
"""

from __future__ import annotations

import numpy as np

from quantable.ir import TensorQuantizationConfig, ValueStatistics
from quantable.passes.calibrate.density import Density
from quantable.passes.calibrate.weights import ends_of, floating_weights


def floating_range(
    statistics: ValueStatistics, config: TensorQuantizationConfig, percentile: float
) -> tuple[float, float]:
    """Return the range of the power-of-two scale with the least squared error.

    A bin stands for its middle; 128 of them an octave are finer than any small float.
    """
    del percentile
    density = Density.of(statistics)
    middle = (density.lower + density.upper) / 2
    ends = np.asarray([statistics.minimum, statistics.maximum])
    low, high = floating_weights(
        np.concatenate([middle, ends]).astype(np.float32), config,
        np.concatenate([density.mass, np.zeros(2)]),
    )  # fmt: skip
    return float(low[0]), float(high[0])


def constant_range(
    statistics: ValueStatistics, config: TensorQuantizationConfig, percentile: float
) -> tuple[float, float]:
    """Return the range of scale 1."""
    del statistics, percentile
    low, high = ends_of(np.ones(1), config)
    return float(low[0]), float(high[0])
