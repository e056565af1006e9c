"""Versions, foreign files, and semantic errors are refused in exact words."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quantable.ir import FormatError, Graph, Profile
from quantable.schema import load, load_profile, save, save_profile, versions
from quantable.schema.container import open_file
from quantable.schema.encode import Encoder
from quantable.schema.reading import KINDS, read_tables
from tests.schema.conftest import frozen, thawed
from tests.schema.sealing import resealed


def changed(graph: Graph, path: Path, change: Callable[[Any], None]) -> Path:
    """Write a graph whose tables were changed, otherwise well formed."""
    save(graph, path, inline_limit=0)
    table = thawed(read_tables(open_file(path, "QIR", KINDS), "Graph"))
    change(table)
    data = resealed(Encoder().encode(frozen(table), "QIR1"))
    path.write_bytes(data + bytes(-len(data) % 64))
    return path


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ((2, 3, 0), "unsupported format version: expected 1.x, found 2.3"),
        ((0, 9, 0), "unsupported format version: expected 1.x, found 0.9"),
        ((1, 6, 5), "the file needs a newer reader: expected version 1.5 or later, found 1.4"),
    ],
)
def test_other_versions(
    graph: Graph, tmp_path: Path, version: tuple[int, int, int], message: str
) -> None:
    def change(table: Any) -> None:
        table.version_major, table.version_minor, table.min_reader_minor = version

    path = changed(graph, tmp_path / "a.qir", change)
    with pytest.raises(FormatError) as caught:
        load(path)
    assert caught.value.message == message
    assert caught.value.where == str(path)
    assert caught.value.help


def test_a_newer_minor_version_that_this_reader_may_read(graph: Graph, tmp_path: Path) -> None:
    path = changed(graph, tmp_path / "a.qir", lambda t: setattr(t, "version_minor", 9))
    assert load(path) == graph


def test_the_version_is_refused_before_anything_else_is_read(graph: Graph, tmp_path: Path) -> None:
    def change(table: Any) -> None:
        table.version_major = 9

    changed(graph, tmp_path / "a.qir", change)
    data = bytearray((tmp_path / "a.qir").read_bytes())
    at = data.find(versions.PRODUCER.encode())
    data[at] = 0xFF
    (tmp_path / "a.qir").write_bytes(data)
    with pytest.raises(FormatError, match=r"found 9\.4"):
        load(tmp_path / "a.qir")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "not a .qir file: expected at least 12 bytes, found 0"),
        (b"\x08\x08onnx", "found 6"),
        (b"\x08\x08\x12\x07pytorch:\xb1\x01\n", "expected identifier QIR1, found b'rch:'"),
        (b"\xff\xff\xff\x7f\0\0\0\0QIR1", "truncated .qir file: expected at least 2147483651"),
        (b"\x02\0\0\0\0\0\0\0QIR1", "corrupt .qir file"),
    ],
)
def test_foreign_files(tmp_path: Path, data: bytes, text: str) -> None:
    path = tmp_path / "a.qir"
    path.write_bytes(data)
    with pytest.raises(FormatError) as caught:
        load(path)
    assert text in caught.value.message
    assert caught.value.where == str(path)


def test_a_profile_is_not_a_graph_and_the_message_says_so(
    graph: Graph, profile: Profile, tmp_path: Path
) -> None:
    save_profile(profile, tmp_path / "p")
    save(graph, tmp_path / "g")
    with pytest.raises(FormatError, match=r"expected identifier QIR1, found a \.qprof file"):
        load(tmp_path / "p")
    with pytest.raises(FormatError, match=r"expected identifier QPR1, found a \.qir file"):
        load_profile(tmp_path / "g")


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(FormatError, match="not a regular file"):
            load(path)
    with pytest.raises(FormatError, match="No such file"):
        load(tmp_path / "none")


def _first(vector: str, field: str, value: int) -> Callable[[Any], None]:
    return lambda table: setattr(getattr(table, vector)[0], field, value)


def _scheme(field: str, value: object) -> Callable[[Any], None]:
    return lambda table: setattr(table.schemes[0], field, value)


def _twice(vector: str) -> Callable[[Any], None]:
    return lambda table: getattr(table, vector).append(getattr(table, vector)[0])


SEMANTIC: dict[str, Callable[[Any], None]] = {
    "string 999 does not exist": _first("values", "name", 999),
    "type 99 does not exist": _first("values", "type", 99),
    "content 99 does not exist": _first("parameters", "content", 99),
    "segment 99 does not exist": _first("contents", "segment", 99),
    "Level 0 does not exist": lambda table: setattr(table, "level", 0),
    "DType 77 does not exist": _first("types", "dtype", 77),
    "Rounding 0 does not exist": _scheme("rounding", 0),
    "expected 2 to 32 bits, found 1": _scheme("bits", 1),
    "empty range [9, 7]": lambda table: [setattr(s, "quant_min", 9) or setattr(s, "quant_max", 7)
                                         for s in table.schemes],
    "illegal quantization policy": _scheme("arithmetic", 2),
    "string 0 is not empty": lambda table: table.strings.__setitem__(0, "x"),
    "value 'b' is given twice": _twice("values"),
    "row 'conv.in1' is given twice": _twice("rows"),
    "metadata key 'key' is given twice": _twice("metadata"),
    "contents have an unknown shape": lambda table: [
        setattr(t, "ranked", False) for t in table.types
    ],
    "contents are strings": lambda table: [setattr(t, "dtype", 16) for t in table.types],
    "a digest has 31 bytes": lambda table: setattr(
        table.segments[0], "sha256", table.segments[0].sha256[:31]
    ),
    "is out of order": lambda table: table.segments.reverse(),
    "is missing": lambda table: setattr(table.segments[0], "sha256", bytes(32)),
    "expected offset 0, found 64": lambda table: setattr(table.segments[0], "external", False)
    or setattr(table.segments[0], "offset", 64),
}  # fmt: skip


@pytest.mark.parametrize("message", SEMANTIC)
def test_well_formed_bytes_with_a_wrong_meaning(graph: Graph, tmp_path: Path, message: str) -> None:
    path = changed(graph, tmp_path / "a.qir", SEMANTIC[message])
    with pytest.raises(FormatError) as caught:
        load(path)
    assert message in caught.value.message
    assert caught.value.where == str(path)


def test_a_segment_name_from_the_file_is_never_a_path(graph: Graph, tmp_path: Path) -> None:
    def change(table: Any) -> None:
        table.segments[0].sha256 = b"../../../etc/passwd".ljust(32, b"\0")

    with pytest.raises(FormatError) as caught:
        load(changed(graph, tmp_path / "a.qir", change))
    assert "etc" not in str(caught.value)
