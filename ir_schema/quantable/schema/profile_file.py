"""Save and load .qprof files."""

from __future__ import annotations

import hashlib
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantable.ir.errors import FormatError
from quantable.ir.profile import Profile, ValueStatistics
from quantable.schema import versions
from quantable.schema.container import Container, open_file, write_file
from quantable.schema.reading import KINDS, read_segments, verified_root
from quantable.schema.segments import Segment, SegmentTable
from quantable.schema.tables import ProfileT, ValueStatisticsT

IDENTIFIER = "QPR1"


def save_profile(profile: Profile, path: str | PathLike[str]) -> None:
    """Write a profile, atomically; equal profiles give equal bytes. The file is self-contained.

    Args:
        profile: The profile.
        path: The .qprof file.
    """
    statistics = profile.statistics
    bins = _joined([s.bins for s in statistics.values()], "<u2")
    counts = _joined([s.counts for s in statistics.values()], "<i8")
    held = {hashlib.sha256(data).hexdigest(): data for data in (bins, counts)}
    sizes = {digest: len(data) for digest, data in held.items()}
    segments = SegmentTable.plan(sizes, lambda digest: memoryview(held[digest]), None)
    index = segments.index()
    table = ProfileT()
    table.versionMajor = versions.VERSION_MAJOR
    table.versionMinor = versions.VERSION_MINOR
    table.minReaderMinor = versions.MIN_READER_MINOR
    table.producer = versions.PRODUCER
    table.segments = segments.tables()
    table.graphDigest = profile.graph_digest
    table.sampleCount = profile.sample_count
    table.bins = index[hashlib.sha256(bins).hexdigest()]
    table.counts = index[hashlib.sha256(counts).hexdigest()]
    table.statistics = []
    first = 0
    for name, item in statistics.items():
        table.statistics.append(_statistics_table(name, item, first))
        first += len(item.bins)
    write_file(Path(path), table, IDENTIFIER, segments)


def _joined(parts: list[tuple[int, ...]], dtype: str) -> bytes:
    return b"".join(np.asarray(part, dtype).tobytes() for part in parts)


def _statistics_table(name: str, item: ValueStatistics, first: int) -> Any:
    table = ValueStatisticsT()
    table.name = name
    table.count = item.count
    table.minimum = item.minimum
    table.maximum = item.maximum
    table.firstBin = first
    table.binCount = len(item.bins)
    return table


def load_profile(path: str | PathLike[str]) -> Profile:
    """Read a profile.

    Raises:
        FormatError: The file is missing, foreign, truncated, corrupt or too new.
    """
    container = open_file(Path(path), IDENTIFIER, KINDS)
    root = verified_root(container, "Profile")
    table = ProfileT.InitFromBuf(container.head, root)
    segments = read_segments(container, table.segments)
    bins = _numbers(container, segments, table.bins, "<u2")
    counts = _numbers(container, segments, table.counts, "<i8")
    if len(bins) != len(counts):
        raise _error(container, f"{len(bins)} bins, {len(counts)} counts")
    statistics: dict[str, ValueStatistics] = {}
    end = 0
    for item in table.statistics or ():
        name = item.name.decode()
        if name in statistics or item.firstBin != end or end + item.binCount > len(bins):
            raise _error(container, f"the statistics of '{name}' are out of place")
        part = slice(end, end + item.binCount)
        end = part.stop
        statistics[name] = _statistics(container, item, bins[part], counts[part])
    if end != len(bins):
        raise _error(container, f"expected {end} bins, found {len(bins)}")
    return Profile(table.graphDigest.decode(), table.sampleCount, statistics)


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
    name = item.name.decode()
    if (np.diff(bins.astype(np.int64)) <= 0).any() or (counts <= 0).any():
        raise _error(container, f"the histogram of '{name}' is not ascending or has empty bins")
    if sum(counts.tolist()) != item.count or not item.minimum <= item.maximum:
        raise _error(container, f"the statistics of '{name}' contradict its histogram")
    return ValueStatistics(
        item.count, item.minimum, item.maximum, tuple(bins.tolist()), tuple(counts.tolist())
    )
