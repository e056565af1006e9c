"""Paired tests: the same samples, two tools."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Flags = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float64]
LEVEL = 0.05
RESAMPLES = 1000


def mcnemar(first: Flags, second: Flags) -> float:
    """Return the two-sided p of McNemar's exact test.

    Of the samples on which the two differ, each is as likely to favour one as the other if both
    are equally good: the binomial tail is summed in integers, so that it is exact.

    Args:
        first, second: Whether each sample is right, by tool.
    """
    gained = int(np.count_nonzero(first & ~second))
    lost = int(np.count_nonzero(second & ~first))
    differing = gained + lost
    tail = sum(math.comb(differing, k) for k in range(min(gained, lost) + 1))
    return min(1.0, 2 * tail / (1 << differing))


@dataclass(frozen=True, slots=True)
class Gain:
    """How much better one SQNR is than another, in dB, with a 95 % interval.

    Attributes:
        value: SQNR of the first less that of the second.
        low, high: Percentiles 2.5 and 97.5 over resampled sets of samples.
    """

    value: float
    low: float
    high: float

    @property
    def is_significant(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def sqnr_gain(mine: Float, other: Float) -> Gain:
    """Return the difference of two SQNRs on the same samples, by a paired bootstrap.

    The signal is the same for both, so it is 10 log10(noise of other / noise of mine). Resampling
    is seeded: the same figures give the same interval.

    Args:
        mine, other: Squared error of each sample, [samples].
    """
    weights = _resamples(len(mine))
    found = _decibels((weights @ other), (weights @ mine))
    low, high = np.percentile(found, [2.5, 97.5])
    value = _decibels(np.array([other.sum()]), np.array([mine.sum()]))[0]
    return Gain(float(value), float(low), float(high))


def _decibels(numerator: Float, denominator: Float) -> Float:
    """Return 10 log10 of the ratio; of two zeros, 0."""
    tiny = np.finfo(np.float64).tiny
    return np.asarray(
        10 * (np.log10(np.maximum(numerator, tiny)) - np.log10(np.maximum(denominator, tiny)))
    )


@functools.lru_cache(maxsize=4)
def _resamples(count: int) -> Float:
    """Return how often each sample is drawn, [RESAMPLES, count]."""
    generator = np.random.Generator(np.random.Philox(key=count))
    return generator.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(float)
