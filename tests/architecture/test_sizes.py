"""Budgets: a file under 400 lines, a function under 40. Tests are held to them, too."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TREES = ("ir_schema", "compiler", "runtime", "tools", "tests")
FILE_LINES, FUNCTION_LINES = 400, 40

FILES = [
    path
    for tree in TREES
    for suffix in ("py", "c", "h")
    for path in sorted((ROOT / tree).rglob(f"*.{suffix}"))
    if "generated" not in path.parts
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < FILE_LINES
    if path.suffix == ".py":
        long = [f"{name}: {lines}" for name, lines in functions(text) if lines >= FUNCTION_LINES]
        assert not long


def functions(text: str) -> list[tuple[str, int]]:
    """(name, lines of code) of every function: signature and docstring are prose, not counted."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            found.append((node.name, lines))
    return found


def test_the_measure_sees_a_long_function() -> None:
    text = 'def f():\n    """Say."""\n' + "    x = 1\n" * 41
    assert functions(text) == [("f", 41)]
