"""Profiles: what is refused beyond broken bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantable.ir import FormatError, Profile
from quantable.schema import load_profile, save_profile
from quantable.schema.container import open_file, write_file
from quantable.schema.reading import KINDS, read_segments, read_tables
from quantable.schema.segments import SegmentTable
from tests.schema.conftest import frozen, thawed


def test_the_file_is_self_contained(profile: Profile, tmp_path: Path) -> None:
    save_profile(profile, tmp_path / "p.qprof")
    assert [p.name for p in tmp_path.iterdir()] == ["p.qprof"]
    assert load_profile(tmp_path / "p.qprof") == profile


def test_an_empty_profile(tmp_path: Path) -> None:
    save_profile(Profile("g", 0, {}), tmp_path / "p.qprof")
    assert load_profile(tmp_path / "p.qprof") == Profile("g", 0, {})


def _rewritten(
    profile: Profile, path: Path, change: Callable[[Any], None], bins: Any, counts: Any
) -> Path:
    """Write a profile whose table was changed and whose histograms were replaced."""
    save_profile(profile, path)
    container = open_file(path, "QPR", KINDS)
    table = thawed(read_tables(container, "Profile"))
    assert len(read_segments(container, frozen(table).segments)) == 2
    parts = [np.asarray(bins, "<u2").tobytes(), np.asarray(counts, "<i8").tobytes()]
    held = {hashlib.sha256(part).hexdigest(): part for part in parts}
    segments = SegmentTable.plan(
        {digest: len(part) for digest, part in held.items()}, lambda d: memoryview(held[d]), None
    )
    table.segments = segments.tables()
    table.bins, table.counts = (segments.index()[hashlib.sha256(p).hexdigest()] for p in parts)
    change(table)
    write_file(path, frozen(table), "QPR", segments)
    return path


BINS, COUNTS = (3, 400, 65535, 0), (1, 2, 4, 1)


def _set(index: int, field: str, value: object) -> Callable[[Any], None]:
    return lambda table: setattr(table.statistics[index], field, value)


def _nothing(_: Any) -> None:
    """Change nothing."""


WRONG: dict[str, tuple[Callable[[Any], None], tuple[int, ...], tuple[int, ...]]] = {
    "not ascending": (_nothing, (400, 3, 65535, 0), COUNTS),
    "has empty bins": (_nothing, BINS, (0, 3, 4, 1)),
    "contradict its histogram": (_nothing, BINS, (1, 2, 5, 1)),
    "the statistics of 'x' contradict": (_set(0, "minimum", 9.0), BINS, COUNTS),
    "the statistics of 'y' contradict": (_set(1, "maximum", float("nan")), BINS, COUNTS),
    "4 bins, 3 counts": (_nothing, BINS, (1, 2, 4)),
    "expected 4 bins, found 5": (_nothing, (*BINS, 9), (*COUNTS, 9)),
    "'y' are out of place": (_set(1, "first_bin", 0), BINS, COUNTS),
    "'x' are out of place": (_set(0, "bin_count", 2**32 - 1), BINS, COUNTS),
    "segment 9 does not exist": (lambda table: setattr(table, "bins", 9), BINS, COUNTS),
}


@pytest.mark.parametrize("message", WRONG)
def test_statistics_that_contradict_themselves(
    profile: Profile, tmp_path: Path, message: str
) -> None:
    path = _rewritten(profile, tmp_path / "p.qprof", *WRONG[message])
    with pytest.raises(FormatError) as caught:
        load_profile(path)
    assert message in caught.value.message
    assert caught.value.where == str(path)


def test_the_rewriting_itself_is_sound(profile: Profile, tmp_path: Path) -> None:
    path = _rewritten(profile, tmp_path / "p.qprof", _nothing, BINS, COUNTS)
    assert load_profile(path) == profile
