"""The gate of schema changes, upgrades and older readers, on schemas that are made up here."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quantable.ir import (
    Decision,
    FormatError,
    Graph,
    InternalError,
    MemoryPlan,
    OptionError,
    Ring,
    Stream,
    UnsupportedError,
)
from quantable.ir.hashing import with_history
from quantable.schema import FormatUpgradeWarning, load, save, versions
from quantable.schema.container import open_file
from quantable.schema.encode import Encoder
from quantable.schema.evolution import Weight, changes, check_change, since
from quantable.schema.fbs import parse_layout
from quantable.schema.generate import RELEASED_FOLDER, SCHEMA_FILES, SCHEMA_FOLDER
from quantable.schema.generated.layout import LAYOUT
from quantable.schema.reading import KINDS, read_tables
from quantable.schema.tables import TABLES, tables_of
from quantable.schema.targeting import stamped
from quantable.schema.versions import Upgrade, current
from tests.schema.sealing import resealed

RELEASED = {
    "v1.0": "0f73cb3c9a0a424c355d941e71920751209722f0a8077ea67adec4a3789094bc",
    "v1.1": "6bb941f64849ad03f3c63200db6c27c2c1ea384ecf39e847cd5ec81343698e38",
    "v1.2": "21b0e22c519b4a4f0496073bdcf0ee003a5fc5a3eb60ef866407d602b0312810",
    "v1.3": "e14fcddcf4ded4abd4dcd92b88bf2fbccefe6323a23130391813fb2ec551d50f",
    "v1.4": "9728794ab930fa0955611e845257bc226288e697475d4b44c0855314d366689d",
}
"""sha256 over the .fbs files of every released version: they never change again."""


def test_released_schemas_never_change() -> None:
    found = {}
    for folder in RELEASED_FOLDER.iterdir():
        h = hashlib.sha256()
        for name in SCHEMA_FILES:
            h.update((folder / name).read_bytes())
        found[folder.name] = h.hexdigest()
    assert found == RELEASED


def schema(change: Callable[[str], str] = lambda text: text) -> dict[str, Any]:
    """The layout of this version's .fbs files, the texts changed first."""
    texts = [(SCHEMA_FOLDER / name).read_text("utf-8") for name in SCHEMA_FILES]
    changed = [change(text) for text in texts]
    return parse_layout(changed)


def edit(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


NEW_FIELD = edit("visibility:Visibility (id: 12);", "visibility:Visibility (id: 12);\n"
                 "  tile:uint (id: 14);")  # fmt: skip
MINOR = {
    "Scheme.tile: the field was added": NEW_FIELD,
    "State.PAUSED: the enumerator was added as 9": edit("FP32 = 8\n", "FP32 = 8, PAUSED = 9\n"),
    "AttributeValue.Content: the union member was added": edit(
        "  RegionAttribute\n}", "  RegionAttribute, Content\n}"
    ),
    "Location: the table was added": edit(
        "root_type Graph;", "table Location { line:uint (id: 0); }\nroot_type Graph;"
    ),
}
MAJOR = {
    "Scheme.visibility: the field was removed": edit("  visibility:Visibility (id: 12);\n", ""),
    "Value.name: id 0 is now 'title'": edit(
        "table Value {\n  name:uint", "table Value {\n  title:uint"
    ),
    "Scheme.bits: the type was 'B' and is 'H'": edit("bits:ubyte (id: 5)", "bits:ushort (id: 5)"),
    "Scheme.bits: the default was 0 and is 8": edit("bits:ubyte (id", "bits:ubyte = 8 (id"),
    "FloatAttribute.value: the default was 'nan' and is 0.0": edit("double = nan", "double"),
    "Graph.inputs: the required was False and is True": edit(
        "inputs:[uint] (id: 13)", "inputs:[uint] (id: 13, required)"
    ),
    "Graph.strings: the required was True and is False": edit("(id: 4, required);\n  segments:[S"
        "egment] (id: 5)", "(id: 4);\n  segments:[Segment] (id: 5)"),
    "Offset.size: the field was added, and is required": edit(
        "  offset:ulong (id: 1);               // in bytes",
        "  offset:ulong (id: 1); size:[ubyte] (id: 2, required);"
    ),
    "Offset: the table was removed or renamed": edit("Offset", "Place"),
    "State.FP32: the code was 8 and is 9": edit("FP32 = 8", "FP32 = 9"),
    "State.FLOAT32: the enumerator was added as 8": edit("FP32 = 8", "FLOAT32 = 8"),
    "AttributeValue: the members were": edit(
        "  IntAttribute, FloatAttribute,", "  FloatAttribute, IntAttribute,"
    ),
    "Scheme.quant_min: id 7 is now 'quant_max'": lambda text: text.replace(
        "quant_min:long (id: 7)", "quant_min:long (id: 8)"
    ).replace("quant_max:long (id: 8)", "quant_max:long (id: 7)"),
    "roots and identifiers: expected": edit("QPR1", "QPS1"),
    "Rounding: the enum was removed or renamed": edit("Rounding", "Rounder"),
}  # fmt: skip


@pytest.mark.parametrize("text", MINOR)
def test_additions_need_a_minor_version(text: str) -> None:
    new = schema(MINOR[text])
    assert [c.weight for c in changes(schema(), new)] == [Weight.MINOR]
    check_change({(1, 0): schema()}, new, (1, 1))
    for wrong in ((1, 0), (1, 2), (2, 0)):
        with pytest.raises(InternalError, match=r"expected version 1\.1, found") as caught:
            check_change({(1, 0): schema()}, new, wrong)
        assert text in str(caught.value)


@pytest.mark.parametrize("text", MAJOR)
def test_any_other_change_needs_a_major_version(text: str) -> None:
    new = schema(MAJOR[text])
    assert max(c.weight for c in changes(schema(), new)) is Weight.MAJOR
    for wrong in ((1, 0), (1, 1)):
        with pytest.raises(InternalError, match=r"expected version 2\.0, found") as caught:
            check_change({(1, 0): schema()}, new, wrong)
        assert text in str(caught.value)


def test_no_change_keeps_the_version() -> None:
    check_change({(1, 0): schema()}, schema(), (1, 0))
    with pytest.raises(InternalError, match=r"expected version 1\.0, found 1\.1: nothing changed"):
        check_change({(1, 0): schema()}, schema(), (1, 1))
    with pytest.raises(InternalError, match=r"version 1\.1 is released already"):
        check_change({(1, 0): schema(), (1, 1): schema(NEW_FIELD)}, schema(), (1, 0))


def test_a_major_version_needs_other_identifiers_and_an_upgrade(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def change(text: str) -> str:
        return edit("FP32 = 8", "FP32 = 9")(text).replace('"QIR1"', '"QIR2"')

    releases = {(1, 0): schema()}
    with pytest.raises(InternalError, match=r"expected other file identifiers.*found QPR1"):
        check_change(releases, schema(change), (2, 0))
    full = schema(lambda text: change(text).replace('"QPR1"', '"QPR2"'))
    with pytest.raises(InternalError, match="expected an upgrade from version 1 for Graph"):
        check_change(releases, full, (2, 0))
    steps = Upgrade(schema(), {"Graph": lambda t: t, "Profile": lambda t: t})
    monkeypatch.setitem(versions.UPGRADES, 1, steps)
    check_change(releases, full, (2, 0))


@pytest.fixture
def newer() -> dict[str, Any]:
    """The layout of a version 1.5 with a new field, a new enumerator and a new attribute."""
    layout = schema(lambda text: NEW_FIELD(MINOR["State.PAUSED: the enumerator was added as 9"](
        MINOR["AttributeValue.Content: the union member was added"](text))))  # fmt: skip
    return {**layout, "since": since({(1, 4): schema()}, layout, (1, 5))}


def in_layout(table: Any, classes: dict[str, Any]) -> Any:
    """The same tables in the classes of another layout."""
    if isinstance(table, tuple) and hasattr(table, "_asdict"):
        held = {name: in_layout(value, classes) for name, value in table._asdict().items()}
        return classes[type(table).__name__](**held)
    return tuple(in_layout(t, classes) for t in table) if isinstance(table, tuple) else table


def tables(graph: Graph, path: Path, layout: dict[str, Any]) -> Any:
    save(graph, path, inline_limit=0)
    return in_layout(read_tables(open_file(path, "QIR", KINDS), "Graph"), tables_of(layout))


def write(table: Any, path: Path, layout: dict[str, Any], identifier: str = "QIR1") -> None:
    data = resealed(Encoder(layout).encode(table, identifier))
    path.write_bytes(data + bytes(-len(data) % 64))


def test_a_newer_writer_serves_older_readers_or_says_what_keeps_them_from_reading(
    graph: Graph, tmp_path: Path, newer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.qir"
    plain = tables(graph, path, newer)
    used = plain._replace(schemes=tuple(s._replace(tile=32) for s in plain.schemes))
    monkeypatch.setattr(versions, "VERSION_MINOR", 5)
    monkeypatch.setattr(versions, "WRITABLE", ((1, 4), (1, 5)))
    made = stamped(plain, None, "f", newer)
    assert (made.version_minor, made.min_reader_minor) == (5, 0)
    assert stamped(plain, (1, 4), "f", newer).version_minor == 4
    assert stamped(used, None, "f", newer).min_reader_minor == 5
    with pytest.raises(UnsupportedError) as caught:
        stamped(used, (1, 4), "f", newer)
    assert caught.value.message == "version 1.4 cannot express Scheme.tile (2 times; since 1.5)"
    with pytest.raises(OptionError, match=r"cannot write version 1\.7: expected one of 1\.4, 1\.5"):
        stamped(plain, (1, 7), "f", newer)
    monkeypatch.undo()
    write(made, path, newer)
    assert load(path) == graph
    write(stamped_as(used, 5), path, newer)
    with pytest.raises(FormatError, match=r"needs a newer reader: expected version 1\.5"):
        load(path)


def stamped_as(table: Any, minor: int) -> Any:
    return table._replace(version_minor=minor, min_reader_minor=minor)


def test_new_enumerators_and_attributes_are_seen_wherever_they_are(
    graph: Graph, tmp_path: Path, newer: dict[str, Any]
) -> None:
    assert newer["since"] == {"Scheme.tile": 5, "State.PAUSED": 5, "AttributeValue.Content": 5}
    table = tables(graph, tmp_path / "a.qir", newer)
    first = table.operations[0]
    slots = first.quantization.inputs
    paused = first._replace(
        quantization=first.quantization._replace(inputs=(slots[0]._replace(state=9), *slots[1:])),
        attributes=(first.attributes[0]._replace(value=tables_of(newer)["Content"](1, 1)),),
    )
    changed = table._replace(operations=(paused, *table.operations[1:]))
    with pytest.raises(UnsupportedError) as caught:
        stamped(changed, (1, 4), "f", newer)
    assert "AttributeValue.Content (1 times" in caught.value.message
    assert "State.PAUSED (1 times" in caught.value.message


def older() -> dict[str, Any]:
    """The layout of a made-up version 0.9, where a plan was two fields of the graph."""
    text = (SCHEMA_FOLDER / "graph.fbs").read_text("utf-8").replace("QIR1", "QIR0")
    text = text.replace("plan:MemoryPlan (id: 19);", "arena:ulong (id: 19);")
    common = (SCHEMA_FOLDER / "common.fbs").read_text("utf-8")
    return parse_layout([common, text])


def from_0_9(table: Any) -> Any:
    """Turn the tables of the made-up version into those of version 1."""
    classes = TABLES
    held = {name: in_layout(value, classes) for name, value in table._asdict().items()}
    arena = held.pop("arena")
    return classes["Graph"](**held, plan=classes["MemoryPlan"](arena, 64, ()) if arena else None)


def test_an_older_major_version_is_upgraded_and_the_reader_says_so(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, path = older(), tmp_path / "old.qir"
    save(graph, path, inline_limit=0)
    table = read_tables(open_file(path, "QIR", KINDS), "Graph")
    held = table._replace(plan=None)._asdict()
    del held["plan"]
    classes = tables_of(layout)
    held = {name: in_layout(value, classes) for name, value in held.items()}
    old = classes["Graph"](**held, arena=4096)._replace(version_major=0, version_minor=9)
    write(old, path, layout, "QIR0")
    with pytest.raises(FormatError, match=r"expected 1\.x, found 0\.9"):
        load(path)
    monkeypatch.setitem(versions.UPGRADES, 0, Upgrade(layout, {"Graph": from_0_9}))
    with pytest.warns(FormatUpgradeWarning, match=r"upgraded from version 0\.9 to 1\.4; save"):
        loaded = load(path)
    assert loaded.plan is not None
    assert (loaded.plan.arena_bytes, loaded.plan.alignment) == (4096, 64)
    assert loaded.operations == graph.operations
    save(loaded, path)
    assert load(path) == loaded


def test_only_a_file_with_decisions_needs_a_reader_of_1_2(graph: Graph, tmp_path: Path) -> None:
    path, record = tmp_path / "a.qir", graph.history[0]
    kept = (Decision(("conv",), "rounding", "noise", 2.0, 1.0, True),)
    decided = with_history(graph, (replace(record, decisions=kept),))
    for made, minor in ((graph, 0), (decided, 2)):
        save(made, path)
        table = read_tables(open_file(path, "QIR", KINDS), "Graph")
        assert (table.version_minor, table.min_reader_minor) == (4, minor)
    save(graph, path, version=(1, 1))
    assert load(path) == graph
    with pytest.raises(
        UnsupportedError, match=r"express StageRecord\.decisions \(1 times; since 1"
    ):
        save(decided, path, version=(1, 1))


def test_only_a_plan_with_streams_needs_a_reader_of_1_4(graph: Graph, tmp_path: Path) -> None:
    path, stream = tmp_path / "a.qir", Stream(("conv",), 2, {"y": Ring(3, 1)})
    for plan, minor in (
        (MemoryPlan(64, 16, {"y": 0}), 0), (MemoryPlan(64, 16, {"y": 0}, True), 4),
        (MemoryPlan(64, 16, {"y": 0}, False, (stream,)), 4),
    ):  # fmt: skip
        planned = replace(graph, plan=plan)
        save(planned, path)
        assert load(path) == planned
        table = read_tables(open_file(path, "QIR", KINDS), "Graph")
        assert table.min_reader_minor == minor
    with pytest.raises(UnsupportedError, match=r"express MemoryPlan\.streams \(1 times; since 1"):
        save(planned, path, version=(1, 3))


def test_identifier_and_version_have_to_agree(graph: Graph, tmp_path: Path) -> None:
    save(graph, tmp_path / "a.qir")
    data = bytearray((tmp_path / "a.qir").read_bytes())
    data[11:12] = b"2"
    (tmp_path / "a.qir").write_bytes(data)
    with pytest.raises(FormatError, match=r"identifier of version 2, but version 1\.4"):
        load(tmp_path / "a.qir")


def test_only_versions_that_exist_can_be_written(graph: Graph, tmp_path: Path) -> None:
    save(graph, tmp_path / "a.qir", version=current())
    save(graph, tmp_path / "b.qir")
    assert (tmp_path / "a.qir").read_bytes() == (tmp_path / "b.qir").read_bytes()
    with pytest.raises(OptionError, match=r"cannot write version 2\.0: expected one of 1\.0"):
        save(graph, tmp_path / "c.qir", version=(2, 0))
    assert not (tmp_path / "c.qir").exists()


def test_the_layout_is_not_changed_by_reading_it() -> None:
    since_1_0 = {"Graph.head_checksum": 1, "Profile.head_checksum": 1, "Profile.means": 1,
                 "Profile.channel_means": 1, "StageRecord.decisions": 2, "Scheme.block_size": 2,
                 "DType.FLOAT8E4M3FN": 2, "DType.FLOAT8E5M2": 2, "DType.FLOAT4E2M1": 2,
                 "Granularity.PER_BLOCK": 2, "Graph.regions": 3, "TensorType.container": 3,
                 "AttributeValue.RegionAttribute": 3, "DType.FLOAT8E4M3FNUZ": 3,
                 "DType.FLOAT8E5M2FNUZ": 3, "DType.FLOAT8E8M0": 3, "DType.INT2": 3,
                 "DType.UINT2": 3, "MemoryPlan.ordered": 4, "MemoryPlan.streams": 4}  # fmt: skip
    assert copy.deepcopy(LAYOUT) == schema() | {"since": since_1_0}
