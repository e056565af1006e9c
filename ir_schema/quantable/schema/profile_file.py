"""Save and load .qprof files."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantable.ir.errors import FormatError
from quantable.ir.profile import FRACTION_BITS, ChannelMeans, Profile, ValueStatistics
from quantable.schema.container import Container, open_file, write_file
from quantable.schema.reading import KINDS, read_segments, read_tables
from quantable.schema.segments import Segment, SegmentTable
from quantable.schema.tables import T
from quantable.schema.targeting import stamped
from quantable.schema.versions import Version

PREFIX = "QPR"


def save_profile(
    profile: Profile, path: str | PathLike[str], *, version: Version | None = None
) -> None:
    """Write a profile, atomically; equal profiles give equal bytes. The file is self-contained.

    Args:
        profile: The profile.
        path: The .qprof file.
        version: (major, minor) of the oldest reader that has to read the file; by default this
            version.

    Raises:
        OptionError: The version cannot be written.
        UserError: The file cannot be written.
    """
    statistics = profile.statistics
    bins = _joined([s.bins for s in statistics.values()], "<u2")
    counts = _joined([s.counts for s in statistics.values()], "<i8")
    means = _packed_means(profile)
    pieces = (bins, counts, means) if profile.channel_means else (bins, counts)
    held = {hashlib.sha256(data).hexdigest(): data for data in pieces}
    sizes = {digest: len(data) for digest, data in held.items()}
    segments = SegmentTable.plan(sizes, lambda digest: memoryview(held[digest]), None)
    index = segments.index()
    firsts = itertools.accumulate((len(s.bins) for s in statistics.values()), initial=0)
    sums = profile.channel_means
    channels = itertools.accumulate((len(s.sums) for s in sums.values()), initial=0)
    table = T.Profile(
        segments=segments.tables(),
        graph_digest=profile.graph_digest,
        sample_count=profile.sample_count,
        bins=index[hashlib.sha256(bins).hexdigest()],
        counts=index[hashlib.sha256(counts).hexdigest()],
        statistics=tuple(
            T.ValueStatistics(name, s.count, s.minimum, s.maximum, first, len(s.bins))
            for (name, s), first in zip(statistics.items(), firsts, strict=False)
        ),
        means=index[hashlib.sha256(means).hexdigest()] if sums else 0,
        channel_means=tuple(
            T.ChannelMeans(name, axis, first, len(s.sums))
            for ((name, axis), s), first in zip(sums.items(), channels, strict=False)
        ),
    )
    write_file(Path(path), stamped(table, version, str(path)), PREFIX, segments)


def _packed_means(profile: Profile) -> bytes:
    parts = [
        (total >> FRACTION_BITS, total & ((1 << FRACTION_BITS) - 1))
        for means in profile.channel_means.values()
        for total in means.sums
    ]
    return np.asarray(parts, "<i8").tobytes()


def _joined(parts: Sequence[npt.NDArray[np.generic]], dtype: str) -> bytes:
    return b"".join(part.astype(dtype, copy=False).tobytes() for part in parts)


def load_profile(path: str | PathLike[str]) -> Profile:
    """Read a profile.

    Raises:
        FormatError: The file is missing, foreign, truncated, corrupt or too new.
    """
    container = open_file(Path(path), PREFIX, KINDS)
    table = read_tables(container, "Profile")
    segments = read_segments(container, table.segments)
    bins = _numbers(container, segments, table.bins, "<u2")
    counts = _numbers(container, segments, table.counts, "<i8")
    if len(bins) != len(counts):
        raise _error(container, f"{len(bins)} bins, {len(counts)} counts")
    statistics: dict[str, ValueStatistics] = {}
    end = 0
    for item in table.statistics:
        name = item.name
        if name in statistics or item.first_bin != end or end + item.bin_count > len(bins):
            raise _error(container, f"the statistics of '{name}' are out of place")
        part = slice(end, end + item.bin_count)
        end = part.stop
        statistics[name] = _statistics(container, item, bins[part], counts[part])
    if end != len(bins):
        raise _error(container, f"expected {end} bins, found {len(bins)}")
    means = _channel_means(container, segments, table) if table.channel_means else {}
    return Profile(table.graph_digest, table.sample_count, statistics, means)


def _channel_means(
    container: Container, segments: list[Segment], table: Any
) -> dict[tuple[str, int], ChannelMeans]:
    pairs = _numbers(container, segments, table.means, "<i8")
    found: dict[tuple[str, int], ChannelMeans] = {}
    end = 0
    for item in table.channel_means:
        key = (item.name, item.axis)
        if key in found or item.axis not in (1, -1) or item.first_channel != end:
            raise _error(container, f"the channel means of '{item.name}' are out of place")
        part = pairs[2 * end : 2 * (end + item.channel_count)].tolist()
        end += item.channel_count
        if any(not 0 <= fraction < 1 << FRACTION_BITS for fraction in part[1::2]):
            raise _error(container, f"the channel means of '{item.name}' are not normal")
        found[key] = ChannelMeans(
            tuple((w << FRACTION_BITS) + f for w, f in zip(part[::2], part[1::2], strict=True))
        )
    if 2 * end != len(pairs):
        raise _error(container, f"expected {2 * end} halves of channel means, found {len(pairs)}")
    return found


def _error(container: Container, message: str) -> FormatError:
    return FormatError(f"corrupt file: {message}", where=container.where)


def _numbers(
    container: Container, segments: list[Segment], index: int, dtype: str
) -> npt.NDArray[np.generic]:
    if index >= len(segments) or segments[index].offset is None:
        raise _error(container, f"segment {index} does not exist in the file")
    data = container.loader(segments[index])()
    if data.nbytes % np.dtype(dtype).itemsize:
        raise _error(container, f"segment {index} has {data.nbytes} bytes")
    return np.frombuffer(data, dtype)


def _statistics(
    container: Container, item: Any, bins: npt.NDArray[Any], counts: npt.NDArray[Any]
) -> ValueStatistics:
    name = item.name
    if (np.diff(bins.astype(np.int64)) <= 0).any() or (counts <= 0).any():
        raise _error(container, f"the histogram of '{name}' is not ascending or has empty bins")
    if _total(counts) != item.count or not item.minimum <= item.maximum:
        raise _error(container, f"the statistics of '{name}' contradict its histogram")
    return ValueStatistics(item.count, item.minimum, item.maximum, bins, counts)


def _total(counts: npt.NDArray[np.int64]) -> int:
    """Return the sum, of halves: one of whole int64 might overflow."""
    return (int((counts >> 32).sum()) << 32) + int((counts & 0xFFFFFFFF).sum())
