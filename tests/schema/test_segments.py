"""Segments: aligned, content-addressed, written once, mapped lazily, checked at first touch."""

from __future__ import annotations

import hashlib
import mmap
import os
import resource
from pathlib import Path

import numpy as np
import pytest

from quantable.ir import FormatError, Graph, UserError, Value
from quantable.schema import load, save
from quantable.schema.container import open_file
from quantable.schema.reading import KINDS, read_segments, read_tables


def large(count: int = 3) -> Graph:
    graph = Graph("large")
    refs = {f"w{i}": graph.store.put(np.full(5000, i, np.float32)) for i in range(count)}
    values = {name: Value(name, ref.dtype, ref.shape) for name, ref in refs.items()}
    return Graph("large", values=values, parameters=refs, store=graph.store)


def external(folder: Path) -> list[Path]:
    return sorted((folder / "segments").iterdir())


def test_large_contents_are_files_named_by_their_digest(tmp_path: Path) -> None:
    save(large(), tmp_path / "a.qir")
    assert len(external(tmp_path)) == 3
    for path in external(tmp_path):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    assert (tmp_path / "a.qir").stat().st_size < 4096


def test_a_second_stage_writes_no_weight_again(tmp_path: Path) -> None:
    save(large(), tmp_path / "a.qir")
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in external(tmp_path)}
    loaded = load(tmp_path / "a.qir")
    touched: list[str] = []
    loaded.store.raw = touched.append  # type: ignore[assignment, method-assign]
    save(loaded, tmp_path / "b.qir")
    assert touched == []
    assert before == {
        path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in external(tmp_path)
    }


def test_equal_contents_are_written_once(tmp_path: Path) -> None:
    graph = large()
    parameters = dict.fromkeys(graph.parameters, graph.parameters["w0"])
    same = Graph("g", values=graph.values, parameters=parameters, store=graph.store)
    save(same, tmp_path / "a.qir")
    assert len(external(tmp_path)) == 1


def test_inline_segments_are_aligned_and_the_file_self_contained(tmp_path: Path) -> None:
    path = tmp_path / "a.qir"
    save(large(), path, inline_limit=None)
    assert [p.name for p in tmp_path.iterdir()] == ["a.qir"]
    container = open_file(path, "QIR", KINDS)
    table = read_tables(container, "Graph")
    data = path.read_bytes()
    assert len(data) % 64 == 0
    for segment in read_segments(container, table.segments):
        assert segment.offset is not None
        start = container.segment_base + segment.offset
        assert start % 64 == 0
        found = hashlib.sha256(data[start : start + segment.size]).hexdigest()
        assert found == segment.digest


def test_a_graph_moves_to_another_folder_with_its_segments(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    save(large(), tmp_path / "a" / "g.qir")
    save(load(tmp_path / "a" / "g.qir"), tmp_path / "b" / "g.qir")
    assert [p.name for p in external(tmp_path / "a")] == [p.name for p in external(tmp_path / "b")]


def test_contents_are_mapped_and_not_read_before_they_are_touched(tmp_path: Path) -> None:
    save(large(), tmp_path / "a.qir")
    broken = external(tmp_path)[0]
    broken.write_bytes(bytes(20000 - 1) + b"?")
    graph = load(tmp_path / "a.qir")
    bad = next(n for n, ref in graph.parameters.items() if ref.digest == broken.name)
    good = next(n for n in graph.parameters if n != bad)
    assert graph.array(good).shape == (5000,)
    with pytest.raises(FormatError, match="corrupt segment") as caught:
        graph.array(bad)
    assert str(broken) in str(caught.value)
    assert broken.name in str(caught.value)


def test_a_torn_segment_is_replaced_by_the_next_save_of_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power failure may leave: the right name and size, other bytes."""
    graph = large()
    save(graph, tmp_path / "a.qir")
    torn = external(tmp_path)[1]
    torn.write_bytes(bytes(20000))
    monkeypatch.setattr("quantable.schema.atomic._sound", {})
    save(graph, tmp_path / "b.qir")
    assert hashlib.sha256(torn.read_bytes()).hexdigest() == torn.name


def test_a_segment_that_vanishes_after_loading_is_named(tmp_path: Path) -> None:
    save(large(1), tmp_path / "a.qir")
    graph = load(tmp_path / "a.qir")
    gone = external(tmp_path)[0]
    gone.unlink()
    with pytest.raises(FormatError, match="cannot read the segment") as caught:
        graph.array("w0")
    assert gone.name in str(caught.value)


def test_a_missing_segment_is_named_when_the_file_is_loaded(tmp_path: Path) -> None:
    save(large(), tmp_path / "a.qir")
    gone = external(tmp_path)[1]
    gone.unlink()
    with pytest.raises(FormatError, match=f"segment {gone.name} is missing") as caught:
        load(tmp_path / "a.qir")
    assert caught.value.where == str(tmp_path / "a.qir")
    assert "keep the folder 'segments'" in caught.value.help


def test_a_segment_of_another_size_is_named_and_replaced_by_the_next_save(tmp_path: Path) -> None:
    graph = large()
    save(graph, tmp_path / "a.qir")
    short = external(tmp_path)[2]
    short.write_bytes(b"short")
    with pytest.raises(FormatError, match="expected 20000 bytes, found 5"):
        load(tmp_path / "a.qir")
    save(graph, tmp_path / "a.qir")
    assert load(tmp_path / "a.qir") == graph


def test_a_file_overwritten_by_its_own_graph_stays_readable(tmp_path: Path) -> None:
    path = tmp_path / "a.qir"
    save(large(), path, inline_limit=None)
    graph = load(path)
    save(graph, path, inline_limit=None)
    assert load(path).array("w2")[0] == graph.array("w2")[0] == 2


@pytest.mark.parametrize("kind", ["folder", "no folder"])
def test_places_that_cannot_be_written_are_the_users_error(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "a.qir"
    if kind == "folder":
        target.mkdir()
    else:
        target = tmp_path / "none" / "a.qir"
    with pytest.raises(UserError, match="cannot write") as caught:
        save(large(), target)
    assert str(tmp_path) in str(caught.value)


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        save(large(1), tmp_path / "a.qir")
    finally:
        os.umask(old)
    assert (tmp_path / "a.qir").stat().st_mode & 0o777 == 0o640


def test_thousands_of_segments_need_few_file_descriptors(tmp_path: Path) -> None:
    save(large(200), tmp_path / "a.qir")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    try:
        graph = load(tmp_path / "a.qir")
        assert sum(float(graph.array(name)[0]) for name in graph.parameters) == 199 * 100
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_large_files_are_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for threshold in (1, 1 << 40):
        monkeypatch.setattr("quantable.schema.container._MAPPED_FROM", threshold)
        folder = tmp_path / str(threshold)
        folder.mkdir()
        save(large(), folder / "a.qir")
        view = load(folder / "a.qir").store.raw(external(folder)[0].name)
        assert isinstance(view.obj, mmap.mmap) == (threshold == 1)
