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
from quantable.ir.graph import Graph

BIN_COUNT = 1 << 16
FRACTION_BITS = 48
MEAN_LIMIT = 2.0**40
"""Means from here on are not summed: their operation gets no bias correction."""
INPUT_CHANNEL_AXIS = {"Conv": 1, "ConvTranspose": 1, "quantable.Linear": -1}
"""Kinds of operation whose weights multiply channels of input 0, and the axis of these."""


@dataclass(frozen=True, slots=True, eq=False)
class ValueStatistics:
    """Statistics of one value over all samples.

    Attributes:
        count: Number of elements seen.
        minimum, maximum: Exact extrema (float32 values).
        bins: Indices of the bins that are not empty, ascending, uint16, read-only.
        counts: Elements in each of these bins, int64, read-only.
    """

    count: int
    minimum: float
    maximum: float
    bins: npt.NDArray[np.uint16] = field(repr=False)
    counts: npt.NDArray[np.int64] = field(repr=False)

    def __post_init__(self) -> None:
        for name, dtype in (("bins", np.uint16), ("counts", np.int64)):
            array = np.asarray(getattr(self, name), dtype)
            if array.flags.writeable:
                array = array.copy()
                array.flags.writeable = False
            object.__setattr__(self, name, array)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ValueStatistics):
            return NotImplemented
        mine, its = ((s.count, s.minimum, s.maximum) for s in (self, other))
        same = np.array_equal(self.bins, other.bins) and np.array_equal(self.counts, other.counts)
        return mine == its and same

    def __hash__(self) -> int:
        return hash((self.count, self.minimum, self.maximum, self.bins.size))

    @staticmethod
    def of(histogram: npt.NDArray[np.int64], minimum: float, maximum: float) -> ValueStatistics:
        """Return the statistics of a dense histogram of `BIN_COUNT` bins."""
        bins = np.flatnonzero(histogram)
        counts = histogram[bins]
        return ValueStatistics(int(counts.sum()), minimum, maximum, bins.astype(np.uint16), counts)

    def merged(self, other: ValueStatistics) -> ValueStatistics:
        """Return the statistics of both sets of samples."""
        dense = np.zeros(BIN_COUNT, np.int64)
        for part in (self, other):
            dense[part.bins] += part.counts
        return ValueStatistics.of(
            dense, min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        )


@dataclass(frozen=True, slots=True)
class ChannelMeans:
    """The mean of every channel of a value, summed over samples.

    Attributes:
        sums: Sum over samples of the mean over all other axes, one a channel, in units of
            ``2**-FRACTION_BITS``: integers, so that the sum does not depend on its order. Empty
            where a mean reached `MEAN_LIMIT`.
    """

    sums: tuple[int, ...] = field(repr=False)

    @staticmethod
    def of(means: npt.NDArray[np.floating]) -> ChannelMeans:
        """Return the sum of means [samples, channels], each rounded to its unit."""
        real = means.astype(np.float64)
        if (np.abs(real) >= MEAN_LIMIT).any():
            return ChannelMeans(())
        whole = np.floor(real)
        parts = np.rint(np.ldexp(real - whole, FRACTION_BITS)).astype(np.int64)
        # Sums of the upper and lower halves of a part cannot overflow, whatever there is of them.
        low = (parts & 0xFFFFFF).sum(axis=0).tolist()
        high = (parts >> 24).sum(axis=0).tolist()
        units = whole.astype(np.int64).sum(axis=0).tolist()
        return ChannelMeans(tuple(
            (u << FRACTION_BITS) + (h << 24) + part
            for u, h, part in zip(units, high, low, strict=True)
        ))  # fmt: skip

    def merged(self, other: ChannelMeans) -> ChannelMeans:
        """Return the sums over both sets of samples."""
        if not self.sums or not other.sums:
            return ChannelMeans(())
        return ChannelMeans(tuple(a + b for a, b in zip(self.sums, other.sums, strict=True)))

    def mean(self, sample_count: int) -> npt.NDArray[np.float64]:
        """Return the means over all samples, float64 [channels]."""
        unit = sample_count << FRACTION_BITS
        return np.array([total / unit for total in self.sums], np.float64)


@dataclass(frozen=True)
class Profile:
    """Statistics of every float activation of one graph.

    Attributes:
        graph_digest: Digest of the float graph that was measured (see `graph_digest`).
        sample_count: Number of samples.
        statistics: By value name.
        channel_means: By (value name, channel axis), of the inputs that weights multiply (see
            `INPUT_CHANNEL_AXIS`); none in profiles of format 1.0.
    """

    graph_digest: str
    sample_count: int
    statistics: Mapping[str, ValueStatistics]
    channel_means: Mapping[tuple[str, int], ChannelMeans] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("statistics", "channel_means"):
            ordered = MappingProxyType(dict(sorted(getattr(self, name).items())))
            object.__setattr__(self, name, ordered)

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
        # A shard that was measured before means were kept leaves none for the whole.
        means = {
            key: mine.merged(other.channel_means[key])
            for key, mine in self.channel_means.items()
            if key in other.channel_means
        }
        return Profile(self.graph_digest, self.sample_count + other.sample_count, merged, means)


def bin_edges(bins: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the lower and the upper real edge of each bin (zero bins reach to the next one)."""
    index = np.asarray(bins, np.uint32)
    near = (index << 16).astype(np.uint32).view(np.float32).astype(np.float64)
    far = ((index + 1) << 16).astype(np.uint32).view(np.float32).astype(np.float64)
    is_negative = index >= 1 << 15
    return np.where(is_negative, far, near), np.where(is_negative, near, far)


def channel_inputs(graph: Graph) -> list[tuple[str, int]]:
    """Return (value, channel axis) of every activation that constant weights multiply."""
    found = {
        (op.inputs[0], INPUT_CHANNEL_AXIS[op.kind]): None
        for op in graph.operations
        if op.kind in INPUT_CHANNEL_AXIS
        and op.inputs[0] not in graph.parameters
        and op.inputs[1] in graph.parameters
    }
    return sorted(found)
