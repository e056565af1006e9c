"""The range with the least expected squared error of quantization.

The elements of a bin are taken as uniform inside it. The error of a grid with step s has period s,
so that its integral from 0 to t is, with n = clamp(round(t / s)) the quantized number of steps,

    F(t) = n * s**3 / 12 + (t - n * s)**3 / 3

inside the range and beyond it: no sampling, no loop over elements.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from quantable.ir import TensorQuantizationConfig, ValueStatistics
from quantable.ir.numerics import scale_from_range
from quantable.passes.calibrate.density import Density, Reals

_CELLS = 1024
_COARSE = np.linspace(1.0, 0.04, 25)
_FINE = np.linspace(0.03, -0.03, 7)
_MARGIN = 1e-9


def mse_range(
    statistics: ValueStatistics, config: TensorQuantizationConfig, percentile: float
) -> tuple[float, float]:
    """Return the clipped range with the least error, or the whole one if none is better.

    Ends are searched in turn, coarse to fine, as shares of the extrema. An end at zero (after a
    Relu) stays there.
    """
    del percentile
    density = Density.of(statistics).coarsened(_CELLS)
    low, high = min(statistics.minimum, 0.0), max(statistics.maximum, 0.0)
    if config.policy.is_symmetric:
        low, high = -max(-low, high), max(-low, high)
    error = _Errors(density, config)
    best = np.asarray([1.0, 1.0])
    for step in (_COARSE, _FINE):
        for end in _ends(low, high, config):
            best = _improved(error, np.asarray([low, high]), best, end, step)
    return float(low * best[0]), float(high * best[1])


def _ends(low: float, high: float, config: TensorQuantizationConfig) -> list[list[int]]:
    if config.policy.is_symmetric:
        return [[0, 1]]
    return [[end] for end, value in ((1, high), (0, low)) if value != 0.0]


def _improved(
    error: Callable[[Reals], Reals], ends: Reals, best: Reals, moved: list[int], step: Reals
) -> Reals:
    shares = np.repeat(best[None, :], step.size + 1, axis=0)
    base = step if step is _COARSE else best[moved[0]] + step
    shares[1:, moved] = np.clip(base, 0.01, 1.0)[:, None]
    errors = error(shares * ends)
    index = int(np.argmin(errors))
    better = errors[index] < errors[0] * (1 - _MARGIN)
    chosen: Reals = shares[index] if better else best
    return chosen


class _Errors:
    """The expected squared error (times the number of elements) of candidate ranges."""

    def __init__(self, density: Density, config: TensorQuantizationConfig) -> None:
        self.config = config
        width = density.upper - density.lower
        self.is_point = width <= 1e-12 * np.maximum(np.abs(density.lower), np.abs(density.upper))
        self.points = density.lower[self.is_point]
        self.point_mass = density.mass[self.is_point]
        bins = ~self.is_point
        self.edges = np.concatenate([density.lower[bins], density.upper[bins]])
        self.weight = density.mass[bins] / width[bins]

    def __call__(self, ranges: Reals) -> Reals:
        """Return the errors [candidates] of ranges [candidates, 2]."""
        scale32, zero = scale_from_range(ranges[:, 0], ranges[:, 1], self.config)
        scale = scale32.astype(np.float64)[:, None]
        first = (self.config.quant_min - zero)[:, None]
        last = (self.config.quant_max - zero)[:, None]
        n, rest = _steps(self.edges, scale, first, last)
        integral = n * (scale**3 / 12) + rest * rest * rest / 3
        half = self.weight.size
        errors: Reals = (integral[:, half:] - integral[:, :half]) @ self.weight
        _, rest = _steps(self.points, scale, first, last)
        return errors + (rest * rest) @ self.point_mass


def _steps(
    x: Reals, scale: Reals, first: npt.NDArray[np.int64], last: npt.NDArray[np.int64]
) -> tuple[Reals, Reals]:
    n = np.clip(np.rint(x / scale), first, last)
    return n, x - n * scale
