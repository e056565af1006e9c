"""What the type checker is told to ignore says which error, and why."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("ir_schema", "compiler", "runtime", "tools")
IGNORED = "type: " + "ignore"
EXPLAINED = re.compile(IGNORED + r"\[[a-z, -]+\] # \S")


def unexplained(text: str) -> list[int]:
    """Return the numbers of the lines that ignore an error without a code or a reason."""
    return [
        number
        for number, line in enumerate(text.splitlines(), 1)
        if IGNORED in line and not EXPLAINED.search(line)
    ]


def test_every_ignored_error_has_a_code_and_a_reason() -> None:
    found = {
        str(path.relative_to(ROOT)): lines
        for tree in SOURCES
        for path in sorted((ROOT / tree).rglob("*.py"))
        if "generated" not in path.parts
        and (lines := unexplained(path.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_the_rule_sees_what_is_not_explained() -> None:
    bare, coded = f"x = 1  # {IGNORED}", f"x = 1  # {IGNORED}[arg-type]"
    assert unexplained("\n".join([bare, coded, f"{coded} # a number"])) == [1, 2]
