"""The density of a value, from its histogram: uniform inside each bin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantable.ir import ValueStatistics
from quantable.ir.profile import bin_edges

Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Density:
    """Bins in ascending order.

    Attributes:
        lower, upper: Real edges [bins], cut to the exact extrema.
        mass: Elements in each bin [bins].
    """

    lower: Reals
    upper: Reals
    mass: Reals

    @staticmethod
    def of(statistics: ValueStatistics) -> Density:
        """Return the density with every bin of the profile."""
        lower, upper = bin_edges(statistics.bins)
        mass = statistics.counts.astype(np.float64)
        order = np.argsort(lower + upper, kind="stable")
        cut = (statistics.minimum, statistics.maximum)
        return Density(np.clip(lower[order], *cut), np.clip(upper[order], *cut), mass[order])

    def coarsened(self, cells: int) -> Density:
        """Return the density with bins narrower than range / cells merged, never across zero.

        Elements closer to zero than ``2**-20`` of the range are left out: they are exact on every
        grid, and a merged bin would smear them.
        """
        reach = max(-float(self.lower[0]), float(self.upper[-1]), 0.0)
        middle = (self.lower + self.upper) / 2
        kept = np.abs(middle) > reach * 2.0**-20
        if reach == 0.0 or not kept.any():
            return Density(np.zeros(1), np.zeros(1), np.ones(1))
        cell = max(float(self.upper[-1] - self.lower[0]), reach) / cells
        key = np.floor(middle[kept] / cell)
        first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
        last = np.concatenate([first[1:], [key.size]]) - 1
        return Density(
            self.lower[kept][first], self.upper[kept][last],
            np.add.reduceat(self.mass[kept], first),
        )  # fmt: skip
