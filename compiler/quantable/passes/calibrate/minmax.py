"""The whole range that was seen."""

from __future__ import annotations

from quantable.ir import TensorQuantizationConfig, ValueStatistics


def minmax_range(
    statistics: ValueStatistics, config: TensorQuantizationConfig, percentile: float
) -> tuple[float, float]:
    """Return the exact extrema."""
    del config, percentile
    return statistics.minimum, statistics.maximum


def headroom_range(
    statistics: ValueStatistics, config: TensorQuantizationConfig, percentile: float
) -> tuple[float, float]:
    """Return twice the range that was seen.

    For 16-bit tensors, which have precision to spare: results beyond the calibration data keep
    their value instead of saturating, for one bit.
    """
    del config, percentile
    return 2.0 * statistics.minimum, 2.0 * statistics.maximum
