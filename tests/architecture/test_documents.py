"""What the pages show works: commands, options and Python code."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from quantable.cli.main import COMMANDS, application
from quantable.cli.options import PREPROCESSING_KEYS

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "tools/quantable/demo"
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("*/README.md"))]


def command_lines(text: str) -> Iterator[list[str]]:
    """Yield the words of every `quantable` line of a page's indented blocks."""
    joined = text.replace("\\\n", " ")
    for match in re.finditer(r"^    quantable (.+)$", joined, re.MULTILINE):
        yield shlex.split(match[1], comments=True)


def faults(words: list[str]) -> list[str]:
    """Return what is wrong with a command line: its name, or options that the command lacks."""
    context = click.Context(application)
    command = application.get_command(context, words[0])  # type: ignore[attr-defined] # a group
    if command is None:
        return [words[0]]
    known = {name for param in command.params for name in param.opts}
    options = [word.partition("=")[0] for word in words[1:] if word.startswith("-")]
    return [option for option in options if option not in known]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_a_page_exist_with_their_options(page: Path) -> None:
    for words in command_lines(page.read_text(encoding="utf-8")):
        assert faults(words) == [], f"quantable {shlex.join(words)}"


def test_the_check_sees_a_wrong_command_line() -> None:
    (words,) = command_lines("text\n\n    quantable compile a \\\n        --tarket x -o b\n")
    assert faults(words) == ["--tarket"]
    assert faults(["improt"]) == ["improt"]


def test_the_table_of_commands_equals_the_data() -> None:
    lines = (ROOT / "docs/command-line.md").read_text(encoding="utf-8").splitlines()
    rows = [f"| `quantable {name}` | {sentence} |" for name, sentence in COMMANDS.items()]
    start = lines.index(rows[0])
    assert lines[start : start + len(rows)] == rows


def test_the_table_of_preprocessing_has_every_key() -> None:
    text = (ROOT / "docs/command-line.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| `--([a-z-]+)` \| `\1` \|", text, re.MULTILINE)
    assert found == [key.replace("_", "-") for key in PREPROCESSING_KEYS]


def test_the_python_of_the_api_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, source in (
        ("net.onnx", "digits.onnx"), ("images.npz", "digits_calibration.npz"),
        ("test.npz", "digits_test.npz"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes((DEMO / source).read_bytes())
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs/python-api.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"^    (.*)$", text, re.MULTILINE))
    names: dict[str, object] = {}
    exec(compile(code, "docs/python-api.md", "exec"), names)
    assert names["claims"]
    assert (tmp_path / "build/report.json").is_file()


@pytest.mark.slow
def test_the_python_of_the_pytorch_page_runs() -> None:
    text = (ROOT / "docs/pytorch.md").read_text(encoding="utf-8")
    code = text[text.index("    import torch\n") : text.index("## Operations that ONNX lacks")]
    code = "\n".join(re.findall(r"^    (.*)$", code, re.MULTILINE))
    exec(compile(code, "docs/pytorch.md", "exec"), {})
