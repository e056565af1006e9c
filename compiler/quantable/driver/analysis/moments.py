"""Moments of a tensor over samples, in one pass."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Moments:
    """Number, extrema, mean, and sums of powers of the distance from the mean.

    See: P. Pébay, Formulas for robust, one-pass parallel computation of covariances and arbitrary-
    order statistical moments, 2008.
    """

    count: int = 0
    low: float = math.inf
    high: float = -math.inf
    mean: float = 0.0
    second: float = 0.0
    third: float = 0.0
    fourth: float = 0.0

    @staticmethod
    def of(
        values: npt.NDArray[np.generic], weights: npt.NDArray[np.int64] | None = None
    ) -> Moments:
        """Return the moments of a tensor.

        Args:
            values: The elements.
            weights: How often each occurs; once by default.
        """
        real = values.astype(np.float64).reshape(-1)
        often = np.ones(1, np.int64) if weights is None else weights
        count = real.size if weights is None else int(weights.sum())
        if not count:
            return Moments()
        mean = float((real * often).sum()) / count
        distance = real - mean
        square = distance * distance
        return Moments(
            count, float(real.min()), float(real.max()), mean, float((square * often).sum()),
            float((square * distance * often).sum()), float((square * square * often).sum()),
        )  # fmt: skip

    def merged(self, other: Moments) -> Moments:
        """Return the moments of both."""
        if not self.count or not other.count:
            return self if self.count else other
        n, a, b = self.count + other.count, self.count, other.count
        gap = other.mean - self.mean
        second = self.second + other.second + gap**2 * a * b / n
        third = (
            self.third + other.third + gap**3 * a * b * (a - b) / n**2
            + 3 * gap * (a * other.second - b * self.second) / n
        )  # fmt: skip
        fourth = (
            self.fourth + other.fourth + gap**4 * a * b * (a * a - a * b + b * b) / n**3
            + 6 * gap**2 * (a * a * other.second + b * b * self.second) / n**2
            + 4 * gap * (a * other.third - b * self.third) / n
        )  # fmt: skip
        low, high = min(self.low, other.low), max(self.high, other.high)
        return Moments(n, low, high, self.mean + gap * b / n, second, third, fourth)

    def facts(self) -> dict[str, float | None]:
        """Return the usual figures as JSON values; kurtosis is that above the normal one's 3."""
        if not self.count:
            return dict.fromkeys(FIGURES)
        variance = self.second / self.count
        skew = kurtosis = None
        # A spread that is lost in the rounding of the mean has no shape.
        if math.sqrt(variance) > 1e-12 * abs(self.mean) and variance * variance > 0:
            skew = self.third / self.count / variance**1.5
            kurtosis = self.fourth / self.count / variance**2 - 3
        found = self.low, self.high, self.mean, math.sqrt(variance), skew, kurtosis
        return dict(zip(FIGURES, found, strict=True))


FIGURES = ("min", "max", "mean", "std", "skew", "kurtosis")
