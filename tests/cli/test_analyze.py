"""`quantable analyze`: tables, facts, the page, and what it refuses."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.cli.conftest import DEMO, Run

DATA = ("--data", DEMO / "digits_test.npz", "--recipe", DEMO / "digits.toml")
VOID = {"meta", "line", "rect", "circle", "br"}


class Page(HTMLParser):
    """Reads a page and remembers tags, links and what is left open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.targets += [value or "" for name, value in attrs if name in ("href", "src", "xlink")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open[-1] != tag and tag in VOID:
            return
        assert self.open.pop() == tag


def test_tables_say_what_is_worst(run: Run, build: Path) -> None:
    found = run("analyze", build / "04-opt.qir", *DATA, "--samples", 4)
    assert found.code == 0, found.err
    assert "SQNR" in found.out.splitlines()[0]
    for title in ("error at every value", "one operation at a time", "adds up", "would help"):
        assert title in found.out


def test_facts_and_page(run: Run, build: Path, tmp_path: Path) -> None:
    page, graph = tmp_path / "page.html", build / "04-opt.qir"
    words = ("analyze", graph, *DATA, "--samples", 4, "--json", "--html", page)
    found = run(*words, "--profile", build / "calibration.qprof")
    assert found.code == 0, found.err
    facts = json.loads(found.out)
    assert (facts["version"], facts["samples"]) == (1, 4)
    assert facts["profile"]
    text = page.read_text(encoding="utf-8")
    reader = Page()
    reader.feed(text)
    reader.close()
    assert not reader.open
    assert not reader.targets
    assert not {"script", "link", "img", "iframe"} & set(reader.tags)
    assert "url(" not in text
    assert {"svg", "path", "circle", "rect"} <= set(reader.tags)


def test_a_profile_alone_needs_no_data(run: Run, build: Path) -> None:
    found = run("analyze", build / "04-opt.qir", "--profile", build / "calibration.qprof")
    assert found.code == 0, found.err
    assert "what tensors held in calibration" in found.out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("04-opt.qir",), 2, ("expected --data, --profile, or both",)),
        (("04-opt.qir", "--profile", "x.qprof", "--only", "budget"), 2, ("expected --data, too",)),
        (("04-opt.qir", *DATA, "--html", "nowhere/x.html"), 1, ("E0105", "no such folder")),
        (("05-lower.qir", *DATA), 1, ("E0105", "found integer", "quantable compare")),
        (("01-opt.qir", *DATA), 1, ("E0105", "found float", "quantable quantize")),
        (("02-quantize.qir", *DATA), 1, ("E0105", "have no scale yet", "quantable calibrate")),
        (("04-opt.qir", *DATA, "--only", "budge"), 1, ("E0106", "did you mean budget")),
        (("04-opt.qir", *DATA, "--samples", 10**6), 1, ("E0104", "too few samples")),
        (("04-opt.qir", "--data", "nowhere.npz"), 1, ("E0104", "no such file")),
    ],
)
def test_bad_input_is_told(
    run: Run, build: Path, words: tuple[object, ...], code: int, says: tuple[str, ...]
) -> None:
    found = run("analyze", build / str(words[0]), *words[1:])
    assert (found.code, found.out) == (code, "")
    assert all(text in found.err for text in says), found.err
    assert "Traceback" not in found.err
