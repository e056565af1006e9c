"""Calibration statistics: exactly mergeable, sufficient for every observer and bit width.

The bins of a histogram are the upper 16 bits of the IEEE 754 float32 pattern: sign, exponent and 7
bits of mantissa, that is 128 bins an octave, fixed and independent of the data. Counts are
integers and extrema are exact, so the merge is associative and commutative bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from quantable.ir.errors import DataError

BIN_COUNT = 1 << 16


@dataclass(frozen=True, slots=True)
class ValueStatistics:
    """Statistics of one value over all samples.

    Attributes:
        count: Number of elements seen.
        minimum, maximum: Exact extrema (float32 values).
        bins: Indices of the bins that are not empty, ascending, uint16.
        counts: Elements in each of these bins, int64.
    """

    count: int
    minimum: float
    maximum: float
    bins: tuple[int, ...] = field(repr=False)
    counts: tuple[int, ...] = field(repr=False)

    @staticmethod
    def of(histogram: npt.NDArray[np.int64], minimum: float, maximum: float) -> ValueStatistics:
        """Return the statistics of a dense histogram of `BIN_COUNT` bins."""
        bins = np.flatnonzero(histogram)
        counts = histogram[bins]
        return ValueStatistics(
            int(counts.sum()), minimum, maximum,
            tuple(bins.tolist()), tuple(counts.tolist()),
        )  # fmt: skip

    def merged(self, other: ValueStatistics) -> ValueStatistics:
        """Return the statistics of both sets of samples."""
        dense = np.zeros(BIN_COUNT, np.int64)
        for part in (self, other):
            dense[np.asarray(part.bins, np.int64)] += np.asarray(part.counts, np.int64)
        return ValueStatistics.of(
            dense, min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        )


@dataclass(frozen=True)
class Profile:
    """Statistics of every float activation of one graph.

    Attributes:
        graph_digest: Digest of the float graph that was measured (see `graph_digest`).
        sample_count: Number of samples.
        statistics: By value name.
    """

    graph_digest: str
    sample_count: int
    statistics: Mapping[str, ValueStatistics]

    def __post_init__(self) -> None:
        ordered = MappingProxyType(dict(sorted(self.statistics.items())))
        object.__setattr__(self, "statistics", ordered)

    def merged(self, other: Profile) -> Profile:
        """Return the profile of both sets of samples, the same in any order.

        Raises:
            DataError: The profiles were measured on different graphs, or on different values.
        """
        if self.graph_digest != other.graph_digest:
            raise DataError(
                "profiles of two graphs cannot be merged: expected graph "
                f"{self.graph_digest[:12]}, found {other.graph_digest[:12]}",
                help="observe all shards on the same canonical float graph",
            )
        if self.statistics.keys() != other.statistics.keys():
            odd = sorted(self.statistics.keys() ^ other.statistics.keys())
            raise DataError(
                f"profiles of different values cannot be merged: only one has '{odd[0]}'",
                help="observe all shards in the same way",
            )
        merged = {
            name: mine.merged(other.statistics[name]) for name, mine in self.statistics.items()
        }
        return Profile(self.graph_digest, self.sample_count + other.sample_count, merged)


def bin_edges(bins: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the lower and the upper real edge of each bin (zero bins reach to the next one)."""
    index = np.asarray(bins, np.uint32)
    near = (index << 16).astype(np.uint32).view(np.float32).astype(np.float64)
    far = ((index + 1) << 16).astype(np.uint32).view(np.float32).astype(np.float64)
    is_negative = index >= 1 << 15
    return np.where(is_negative, far, near), np.where(is_negative, near, far)
