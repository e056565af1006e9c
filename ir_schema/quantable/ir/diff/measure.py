"""How far two arrays are apart."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


class Measure:
    """Adds up how far arrays are apart, in float64.

    Attributes:
        elements, differing: Numbers of elements.
        max_abs: The largest absolute difference; infinite where one side is not a number.
    """

    def __init__(self) -> None:
        self.elements = 0
        self.differing = 0
        self.max_abs = 0.0
        self.signal = 0.0
        self.noise = 0.0
        self.product = 0.0
        self.other = 0.0

    def add(self, before: npt.NDArray[np.generic], after: npt.NDArray[np.generic]) -> None:
        """Add two arrays of one shape."""
        left = np.asarray(before, np.float64).reshape(-1)
        right = np.asarray(after, np.float64).reshape(-1)
        with np.errstate(invalid="ignore", over="ignore"):
            gap = right - left
            noise = _dot(gap, gap)
            if not math.isfinite(noise):  # two infinities or two NaN are equal
                gap[(left == right) | (np.isnan(left) & np.isnan(right))] = 0.0
                noise = _finite(_dot(gap, gap))
            self.signal += _dot(left, left)
            self.other += _dot(right, right)
            self.product += _dot(left, right)
        self.elements += left.size
        self.differing += int(np.count_nonzero(gap))
        largest = max(float(gap.max(initial=0.0)), -float(gap.min(initial=0.0)))
        self.max_abs = max(self.max_abs, _finite(largest))
        self.noise += noise

    @property
    def sqnr_db(self) -> float | None:
        """Signal to noise in dB; None where nothing differs or there is no finite ratio."""
        if not (0 < self.noise < math.inf and 0 < self.signal < math.inf):
            return None
        return 10 * math.log10(self.signal / self.noise)

    @property
    def cosine(self) -> float | None:
        """Cosine of the angle between the two; None where one of them is zero."""
        if not (0 < self.signal < math.inf and 0 < self.other < math.inf):
            return None
        return self.product / math.sqrt(self.signal) / math.sqrt(self.other)


def _dot(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> float:
    """Return the inner product; not by BLAS, whose sum depends on the number of threads."""
    return float(np.einsum("i,i->", left, right))


def _finite(value: float) -> float:
    return math.inf if math.isnan(value) else float(value)
