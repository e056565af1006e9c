"""Files of every released version are read as they were meant, and written again bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantable.ir import DType, FormatError, Granularity, Level, Relation, Rounding, State
from quantable.schema import load, load_profile, save, save_profile, version_of
from quantable.schema.container import open_file
from quantable.schema.generate import SCHEMA_FILES, SCHEMA_FOLDER, releases
from quantable.schema.generated.layout import LAYOUT
from quantable.schema.reading import KINDS, read_tables
from quantable.schema.versions import WRITABLE, current, spelled
from quantable.text.printer import print_graph
from tests.golden import compendium

FOLDERS = sorted(compendium.FOLDER.glob("v*"))
FILES = [path for folder in FOLDERS for path in sorted(folder.glob("*.qir"))]


def version(path: Path) -> tuple[int, int]:
    major, minor = path.parent.name.removeprefix("v").split(".")
    return int(major), int(minor)


def test_every_released_version_has_its_files() -> None:
    assert [folder.name for folder in FOLDERS] == [f"v{spelled(v)}" for v in releases()]
    assert set(releases()) >= set(WRITABLE)
    total = sum(path.stat().st_size for f in FOLDERS for path in f.rglob("*") if path.is_file())
    assert total < 250_000 * len(FOLDERS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_golden_graph(path: Path, tmp_path: Path) -> None:
    assert version_of(path) == version(path)
    graph = load(path)
    made = compendium.graph(Level(path.stem), version(path))
    assert graph == made
    assert graph.history == made.history
    for digest in made.contents():
        assert graph.store.raw(digest) == made.store.raw(digest)
    assert print_graph(graph) == path.with_suffix(".txt").read_text("utf-8")
    limit = None if graph.level in (Level.FLOAT, Level.PLANNED) else 4096
    save(graph, tmp_path / "again.qir", inline_limit=limit, version=version(path))
    assert (tmp_path / "again.qir").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_golden_profile(folder: Path, tmp_path: Path) -> None:
    path = folder / "profile.qprof"
    profile = load_profile(path)
    assert profile == compendium.profile(version(path))
    save_profile(profile, tmp_path / "again.qprof", version=version(path))
    assert (tmp_path / "again.qprof").read_bytes() == path.read_bytes()


def used(table: object, found: set[str]) -> set[str]:
    """Every field with a value of its own, and the kind of every table."""
    if isinstance(table, tuple) and hasattr(table, "_asdict"):
        name = type(table).__name__
        found.add(name)
        for field, value in table._asdict().items():
            if value or isinstance(value, float):
                found.add(f"{name}.{field}")
            used(value, found)
    elif isinstance(table, tuple):
        for item in table:
            used(item, found)
    return found


def test_the_compendium_uses_every_field_of_every_table() -> None:
    found: set[str] = set()
    for path in FOLDERS[-1].glob("*.q*"):
        kind, root = ("QPR", "Profile") if path.suffix == ".qprof" else ("QIR", "Graph")
        used(read_tables(open_file(path, kind, KINDS), root), found)
    # Segments are in the order of digests: one of the three indices of a profile is 0.
    found |= {"Profile.bins", "Profile.counts", "Profile.means"}
    known = {f"{name}.{f[1]}" for name, fields in LAYOUT["tables"].items() for f in fields}
    assert known - found == set()
    assert set(LAYOUT["tables"]) <= found


def test_the_compendium_uses_every_enumerator() -> None:
    slots = compendium.configs(current())
    assert {c.state for c in slots} == set(State)
    assert {c.suspended for c in slots} == {None, *State}
    assert {c.relation for c in slots} == set(Relation)
    assert {c.rounding for c in slots} == set(Rounding)
    assert {c.policy.granularity for c in slots} == set(Granularity)
    assert {v.dtype for v in compendium.graph(Level.FLOAT, current()).values.values()} == set(DType)
    assert {path.stem for path in FILES} == {level.value for level in Level}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_golden_file_with_one_byte_less_is_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.qir").write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FormatError, match=r"truncated|is missing"):
        load(tmp_path / "cut.qir")


def test_the_released_schema_of_this_version_is_the_schema() -> None:
    """While this version is a released one, so that a comment cannot differ either."""
    newest = SCHEMA_FOLDER / "released" / f"v{spelled(WRITABLE[-1])}"
    for name in SCHEMA_FILES:
        assert (newest / name).read_text("utf-8") == (SCHEMA_FOLDER / name).read_text("utf-8")
