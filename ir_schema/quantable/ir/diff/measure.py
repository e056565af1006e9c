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
        left, right = np.asarray(before, np.float64), np.asarray(after, np.float64)
        self.elements += left.size
        same = (left == right) | (np.isnan(left) & np.isnan(right))
        self.differing += int(left.size - np.count_nonzero(same))
        with np.errstate(invalid="ignore"):
            gap = np.where(same, 0.0, right - left)
        self.max_abs = max(self.max_abs, _finite(np.abs(gap).max(initial=0.0)))
        left, right, gap = left.reshape(-1), right.reshape(-1), gap.reshape(-1)
        self.signal += float(left @ left)
        self.other += float(right @ right)
        self.product += float(left @ right)
        self.noise += _finite(float(gap @ gap))

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


def _finite(value: float) -> float:
    return math.inf if math.isnan(value) else float(value)
