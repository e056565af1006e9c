"""The table of calibration methods of activations."""

from __future__ import annotations

from collections.abc import Callable

from quantable.ir import TensorQuantizationConfig, ValueStatistics
from quantable.passes.calibrate.floating import constant_range, floating_range
from quantable.passes.calibrate.kl import kl_range
from quantable.passes.calibrate.minmax import headroom_range, minmax_range
from quantable.passes.calibrate.mse import mse_range
from quantable.passes.calibrate.percentile import percentile_range

RangeMethod = Callable[[ValueStatistics, TensorQuantizationConfig, float], tuple[float, float]]

METHODS: dict[str, RangeMethod] = {
    "minmax": minmax_range,
    "percentile": percentile_range,
    "mse": mse_range,
    "kl": kl_range,
    "headroom": headroom_range,
    "floating": floating_range,
    "constant": constant_range,
}
"""By name; a method returns the real range [low, high] that the row must cover."""

PINNED = ("headroom", "fixed")
"""Observers that a target chose for a reason: the option `method` does not replace them."""
