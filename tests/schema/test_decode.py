"""The verifier follows exactly the schema, and each of its rules refuses bytes that break it."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import flatbuffers
import pytest

from quantable.ir import FormatError, Graph
from quantable.schema import load, save
from quantable.schema.container import open_file
from quantable.schema.decode import Decoder
from quantable.schema.enums import CODES, ENUMS
from quantable.schema.generate import SCHEMA_FILES, SCHEMA_FOLDER, fresh_layout
from quantable.schema.generated.layout import LAYOUT
from quantable.schema.reading import KINDS
from quantable.schema.versions import PRODUCER
from tests.schema.sealing import resealed


def table(*fields: tuple[int, bytes], inline: bytes = b"") -> bytes:
    """A buffer whose root is a Graph with given 4-byte fields; offsets count from each field."""
    count = max((slot for slot, _ in fields), default=-1) + 1
    offsets = [0] * count
    body = b""
    for slot, data in fields:
        offsets[slot] = 4 + len(body)
        body += data
    vtable = struct.pack(f"<HH{count}H", 4 + 2 * count, 4 + len(body), *offsets)
    vtable += bytes(-len(vtable) % 4)
    root = 12 + len(vtable)
    data = struct.pack("<I4s", root - 4, b"QIR1") + vtable
    data += struct.pack("<i", len(vtable)) + body + inline
    return struct.pack("<I", len(data)) + data


def refuse(data: bytes, text: str) -> None:
    with pytest.raises(FormatError, match=text) as caught:
        Decoder(data, "file 'f'").decode("Graph")
    assert "file 'f'" in str(caught.value)
    assert " at byte " in str(caught.value)


def offset(distance: int) -> bytes:
    return struct.pack("<I", distance)


def test_required_fields() -> None:
    refuse(table(), r"a required field is absent.*Graph\.producer")


def test_offsets_inside_the_file_and_aligned() -> None:
    far = table((3, offset(1 << 30)), (4, offset(4)), inline=bytes(16))
    refuse(far, r"an offset leaves the file.*Graph\.producer")
    odd = table((3, offset(5)), (4, offset(4)), inline=bytes(16))
    refuse(odd, r"an offset is not aligned.*Graph\.producer")


def test_strings() -> None:
    long = table((3, offset(8)), (4, offset(4)), inline=offset(100) + bytes(4))
    refuse(long, r"a string of 100 bytes has no end.*Graph\.producer")
    open_end = table((3, offset(8)), (4, offset(4)), inline=offset(2) + b"abcd")
    refuse(open_end, "a string of 2 bytes has no end")
    latin = table((3, offset(8)), (4, offset(4)), inline=offset(2) + b"\xe9\xe9\0\0")
    refuse(latin, "a string is not UTF-8")


def test_vectors() -> None:
    text = offset(1) + b"a\0\0\0"
    long = table((3, offset(8)), (4, offset(12)), inline=text + offset(1000))
    refuse(long, r"a vector of 1000 elements leaves the file.*Graph\.strings")


def test_vtables_and_tables() -> None:
    good = table((3, offset(4)), inline=offset(0) + bytes(4))
    root = struct.unpack_from("<I", good, 4)[0] + 4
    for change, text in (
        (struct.pack("<i", 1 << 30), "a vtable is outside the file"),
        (struct.pack("<i", -(1 << 30)), "a vtable is outside the file"),
        (struct.pack("<i", 1), "a vtable is outside the file or not aligned"),
    ):
        refuse(good[:root] + change + good[root + 4 :], text)
    refuse(good[:12] + struct.pack("<H", 5) + good[14:], "a vtable has 5 bytes")
    refuse(good[:14] + struct.pack("<H", 2) + good[16:], "a table has 2 bytes")
    refuse(good[:14] + struct.pack("<H", 60000) + good[16:], "a table has 60000 bytes")
    refuse(good[:22] + struct.pack("<H", 90) + good[24:], "a field is outside its table")


def _union(kind: int | None, has_value: bool) -> bytes:
    builder = flatbuffers.Builder(256)
    producer, empty = builder.CreateString("p"), builder.CreateString("")
    builder.StartVector(4, 1, 4)
    builder.PrependUOffsetTRelative(empty)
    strings = builder.EndVector()
    builder.StartObject(1)
    value = builder.EndObject()
    builder.StartObject(3)
    if kind is not None:
        builder.PrependUint8Slot(1, kind, 255)
    if has_value:
        builder.PrependUOffsetTRelativeSlot(2, value, 0)
    attribute = builder.EndObject()
    builder.StartVector(4, 1, 4)
    builder.PrependUOffsetTRelative(attribute)
    attributes = builder.EndVector()
    builder.StartObject(7)
    builder.PrependUOffsetTRelativeSlot(4, attributes, 0)
    operation = builder.EndObject()
    builder.StartVector(4, 1, 4)
    builder.PrependUOffsetTRelative(operation)
    operations = builder.EndVector()
    builder.StartObject(22)
    for slot, target in ((3, producer), (4, strings), (18, operations)):
        builder.PrependUOffsetTRelativeSlot(slot, target, 0)
    builder.FinishSizePrefixed(builder.EndObject(), b"QIR1")
    return bytes(builder.Output())


@pytest.mark.parametrize(
    ("kind", "has_value", "text"),
    [
        (0, True, "unknown type 0"), (9, True, "unknown type 9"), (None, True, "only a value"),
        (None, False, "a required field is absent"), (1, False, "a required field is absent"),
    ],
)  # fmt: skip
def test_unions(kind: int | None, has_value: bool, text: str) -> None:
    Decoder(_union(1, True), "f").decode("Graph")
    refuse(_union(kind, has_value), text)


def test_one_target_cannot_be_visited_without_end() -> None:
    """A quarter of a megabyte of offsets to one vector of offsets to one table."""
    builder = flatbuffers.Builder(1 << 20)
    producer = builder.CreateString("p" * 40000)
    builder.StartVector(4, 30000, 4)
    for _ in range(30000):
        builder.PrependUOffsetTRelative(producer)
    strings = builder.EndVector()
    builder.StartObject(22)
    builder.PrependUOffsetTRelativeSlot(3, producer, 0)
    builder.PrependUOffsetTRelativeSlot(4, strings, 0)
    builder.FinishSizePrefixed(builder.EndObject(), b"QIR1")
    refuse(bytes(builder.Output()), "point to the same bytes too often")


def test_fields_of_a_newer_schema_are_passed_over(tmp_path: Path) -> None:
    builder = flatbuffers.Builder(256)
    producer, empty = builder.CreateString(PRODUCER), builder.CreateString("")
    builder.StartVector(4, 1, 4)
    builder.PrependUOffsetTRelative(empty)
    strings = builder.EndVector()
    builder.StartObject(40)
    builder.PrependUint16Slot(0, 1, 0)
    builder.PrependUint16Slot(1, 7, 0)
    builder.PrependUint8Slot(10, 1, 0)
    builder.PrependUint64Slot(22, 1, 0)
    builder.PrependUint32Slot(39, 0xFFFFFFFF, 0)
    builder.PrependUOffsetTRelativeSlot(3, producer, 0)
    builder.PrependUOffsetTRelativeSlot(4, strings, 0)
    builder.FinishSizePrefixed(builder.EndObject(), b"QIR1")
    data = resealed(bytes(builder.Output()))
    path = tmp_path / "newer.qir"
    path.write_bytes(data + bytes(-len(data) % 64))
    assert load(path) == Graph("")


def test_the_committed_layout_is_that_of_the_schemas() -> None:
    assert fresh_layout() == LAYOUT
    assert LAYOUT["roots"] == {"QIR1": "Graph", "QPR1": "Profile"}


def test_the_layout_holds_every_table_that_the_schemas_declare() -> None:
    text = "".join((SCHEMA_FOLDER / name).read_text("utf-8") for name in SCHEMA_FILES)
    assert text.count("\ntable ") == len(LAYOUT["tables"])
    assert text.count("(id: ") == sum(len(fields) for fields in LAYOUT["tables"].values())


@pytest.mark.skipif(shutil.which("flatc") is None, reason="flatc is not installed")
def test_the_reader_of_flatbuffers_reads_what_is_written(graph: Graph, tmp_path: Path) -> None:
    """flatc prints the file as JSON, and a file made from that JSON holds the same graph."""
    save(graph, tmp_path / "g.qir", inline_limit=0)
    head = open_file(tmp_path / "g.qir", "QIR", KINDS).head
    (tmp_path / "head.bin").write_bytes(head)
    command = ["flatc", "--size-prefixed", "-o", str(tmp_path), "-I", str(SCHEMA_FOLDER)]
    schema = str(SCHEMA_FOLDER / "graph.fbs")
    to_json = [*command, "--json", "--strict-json", schema, "--", str(tmp_path / "head.bin")]
    subprocess.run(to_json, check=True)
    subprocess.run([*command, "--binary", schema, str(tmp_path / "head.json")], check=True)
    data = resealed((tmp_path / "head.qir").read_bytes())
    (tmp_path / "g.qir").write_bytes(data + bytes(-len(data) % 64))
    assert load(tmp_path / "g.qir") == graph


@pytest.mark.parametrize("kind", ENUMS, ids=lambda kind: kind.__name__)
def test_every_enumerator_has_a_code_and_0_has_none(kind: type) -> None:
    codes = dict(LAYOUT["enums"][kind.__name__])  # type: ignore[index] # see fbs.py
    assert codes.pop("INVALID") == 0
    assert codes == {member.name: CODES[member] for member in kind}  # type: ignore[attr-defined]


def test_verification_does_not_depend_on_the_size_of_contents(graph: Graph, tmp_path: Path) -> None:
    save(graph, tmp_path / "a.qir", inline_limit=None)
    save(graph, tmp_path / "b.qir", inline_limit=0)
    assert (tmp_path / "b.qir").stat().st_size < (tmp_path / "a.qir").stat().st_size
