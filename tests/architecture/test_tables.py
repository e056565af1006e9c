"""The tables are complete: what a table names exists, and what exists is in its table."""

from __future__ import annotations

import ast
import importlib
import re
from dataclasses import is_dataclass
from pathlib import Path

import pytest

from quantable.cli.main import COMMANDS
from quantable.driver.stages import STAGES
from quantable.ir.errors import QuantableError, diagnostics
from quantable.passes.base import Pass
from quantable.passes.registry import GROUPS, PASSES, PassEntry
from quantable.targets.description import TARGETS

ROOT = Path(__file__).resolve().parents[2]
PASSES_FOLDER = ROOT / "compiler/quantable/passes"


@pytest.mark.parametrize("entry", PASSES.values(), ids=lambda entry: entry.name)
def test_every_registered_pass_is_what_its_entry_says(entry: PassEntry) -> None:
    cls = entry.load()
    assert issubclass(cls, Pass)
    assert is_dataclass(cls)
    assert (cls.name, cls.summary) == (entry.name, entry.summary)


@pytest.mark.parametrize("entry", PASSES.values(), ids=lambda entry: entry.name)
def test_every_pass_says_what_it_does(entry: PassEntry) -> None:
    text = f"{importlib.import_module(entry.module).__doc__}{entry.load().__doc__}"
    for part in ("Before", "After", "Preconditions", "Numerics"):
        assert re.search(rf"^ *{part}\b.*", text, re.MULTILINE), f"{entry.module} lacks '{part}'"


def test_every_pass_in_a_file_is_registered() -> None:
    registered = {entry.module.rsplit(".", 1)[1] for entry in PASSES.values()}
    found = {
        path.stem
        for path in PASSES_FOLDER.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "Pass" for base in node.bases)
    }
    assert found == registered


def test_groups_and_passes_have_different_names() -> None:
    assert not set(GROUPS) & set(PASSES)


def test_every_target_file_is_listed() -> None:
    files = {path.stem for path in (ROOT / "compiler/quantable/targets").glob("*.toml")}
    assert files == set(TARGETS)


def test_every_command_has_a_file_and_every_file_is_a_command() -> None:
    files = {
        path.stem.removesuffix("_command")
        for path in (ROOT / "tools/quantable/cli").glob("*_command.py")
    }
    assert files == set(COMMANDS)


def test_diagnostic_codes_are_unique_and_documented() -> None:
    classes: list[type[QuantableError]] = [QuantableError]
    for cls in classes:
        classes += [c for c in cls.__subclasses__() if c.__module__.startswith("quantable.")]
    assert len({cls.code for cls in classes}) == len(classes)
    assert set(diagnostics().values()) >= set(classes)
    text = (ROOT / "docs/command-line.md").read_text(encoding="utf-8")
    for cls in classes[1:]:
        row = f"| `{cls.code}` | {cls.__name__} | {cls.exit_code} |"
        assert row in text, f"docs/command-line.md lacks the row: {row}"


def stage_rows() -> list[str]:
    """The rows of the README's table, from the data."""
    return [
        f"| {stage.name} | `quantable {stage.command}` | "
        f"{f'`{stage.file}`' if stage.file else 'target code'} | {stage.holds} |"
        for stage in STAGES
    ]


@pytest.mark.parametrize("page", ["README.md", "docs/stages.md"])
def test_stage_tables_equal_the_data(page: str) -> None:
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    start = lines.index(stage_rows()[0])
    assert lines[start : start + len(STAGES)] == stage_rows()


def test_documents_link_to_files_that_exist() -> None:
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
