"""How far a tensor is from its reference: one table of measures over sums that samples add to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantable.ir.diff import Measure

Array = npt.NDArray[np.generic]
Counts = npt.NDArray[np.int64]
BINS = 128
"""Bins of equal width between the reference's extrema."""


class Totals:
    """Sums over samples of a reference and what stands for it.

    Attributes:
        low, high: Extrema of the reference over all samples.
        sums: Inner products, in float64.
        before, after: Histograms over the reference's range, int64 [BINS]; what lies outside is
            counted in the outermost bins.
    """

    def __init__(self, low: float, high: float) -> None:
        self.sums = Measure()
        self.before: Counts = np.zeros(BINS, np.int64)
        self.after: Counts = np.zeros(BINS, np.int64)
        self.low, self.high = low, high

    def add(self, before: Array, after: Array) -> None:
        """Add one sample's reference and what stands for it, of one shape."""
        self.sums.add(before, after)
        self.before += self._counted(before)
        self.after += self._counted(after)

    def bins(self, values: Array) -> npt.NDArray[np.int64]:
        """Return the bin of every element."""
        flat = np.asarray(values, np.float64).reshape(-1)
        if not self.high > self.low:  # a constant: below, equal, above
            return np.sign(flat - self.low).astype(np.int64) + 1
        place = (flat - self.low) * (BINS / (self.high - self.low))
        return np.clip(place, 0, BINS - 1).astype(np.int64)

    def _counted(self, values: Array) -> Counts:
        return np.bincount(self.bins(values), minlength=BINS)

    def facts(self) -> dict[str, object]:
        """Return every measure by its key, and whether nothing differs, as JSON values."""
        figures = {key: measure.of(self) for key, measure in MEASURES.items()}
        return {"is_equal": self.is_equal, **figures}

    @property
    def is_equal(self) -> bool:
        """Whether no element differs."""
        return not self.sums.differing


def noise(totals: Mapping[str, Totals]) -> float:
    """Return the squared error divided by that of zeros, averaged over values.

    As `quantable.passes.laboratory` judges: the plain squared error where the reference is zero.
    """
    parts = [t.sums.noise / (t.sums.signal or 1.0) for t in totals.values()]
    return sum(parts) / len(parts)


def decibels(noise: float) -> float | None:
    """Return a noise ratio as a signal-to-noise ratio in dB; None where there is no noise."""
    return -10 * math.log10(noise) if noise > 0 else None


def gain_db(before: float, after: float) -> float | None:
    """Return by how many dB a noise ratio falls; None where nothing is left of it, or was there."""
    return 10 * math.log10(before / after) if before > 0 and after > 0 else None


def _mse(totals: Totals) -> float | None:
    sums = totals.sums
    return sums.noise / sums.elements if sums.elements else None


def _kl(totals: Totals) -> float | None:
    if not totals.sums.elements:
        return None
    # Half a count more in every bin (the Jeffreys prior): finite where a bin is empty.
    p, q = (counts + 0.5 for counts in (totals.before, totals.after))
    p, q = p / p.sum(), q / q.sum()
    return max(0.0, float(np.sum(p * np.log(p / q))))


@dataclass(frozen=True, slots=True)
class Kind:
    """One measure.

    Attributes:
        title: Head of its column.
        form: How a person reads it, a format specification.
        is_better_high: Whether more is better.
        of: Computes it; None where it is not defined.
    """

    title: str
    form: str
    is_better_high: bool
    of: Callable[[Totals], float | None]


MEASURES: dict[str, Kind] = {
    "sqnr_db": Kind("SQNR dB", ".2f", True, lambda totals: totals.sums.sqnr_db),
    "cosine": Kind("cosine", ".6f", True, lambda totals: totals.sums.cosine),
    "mse": Kind("MSE", ".3e", False, _mse),
    "kl": Kind("KL nats", ".4f", False, _kl),
}
"""Every measure by its key in the facts. SQNR is None where nothing differs or the reference is
zero, the cosine where one side is zero."""
