"""`quantable diff` and `quantable compare`: what they print, and their exit codes."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest

from quantable.ir.diff import diff_graphs
from quantable.report.diff_page import diff_page
from quantable.report.diff_text import diff_lines
from quantable.schema import load, save
from tests.cli.conftest import DEMO, Run

SECTIONS = (
    "added", "removed", "replaced", "rewired", "quantization", "parameters", "attributes",
    "metadata",
)  # fmt: skip


def test_the_same_file_is_the_same(run: Run, build: Path) -> None:
    result = run("diff", build / "04-opt.qir", build / "04-opt.qir")
    assert (result.code, result.out, result.err) == (0, "same\n", "")


def test_stages_differ_verdict_first_and_sections_in_order(run: Run, build: Path) -> None:
    result = run("diff", build / "02-quantize.qir", build / "03-calibrate.qir")
    assert result.code == 1
    assert result.out.startswith("different: ")
    assert "state: initial -> activated" in result.out
    assert "by calibrate: " in result.out
    assert "metadata changed" in result.out
    assert "\x1b" not in result.out, "no colour where stdout is no terminal"
    titles = [line for line in result.out.splitlines()[1:] if line and line[0] != " "]
    assert titles == ["quantization changed", "parameters changed", "metadata changed"]


def test_json_has_every_section_in_order(run: Run, build: Path) -> None:
    result = run("diff", build / "04-opt.qir", build / "05-lower.qir", "--json")
    facts = json.loads(result.out)
    assert result.code == 1
    assert tuple(facts)[3:] == SECTIONS
    assert facts["same"] is False
    (first, *_) = facts["replaced"]
    assert first["after"][0]["kind"].startswith("int.")
    assert first["sources"]


@pytest.mark.parametrize(
    ("words", "sections"),
    [
        (["--structure"], {"added", "removed", "replaced", "rewired", "attributes"}),
        (["--quantization"], {"quantization"}),
        (["--values"], {"parameters"}),
        (["--values", "--quantization"], {"parameters", "quantization"}),
        ([], set(SECTIONS)),
    ],
)
def test_levels_of_attention(run: Run, build: Path, words: list[str], sections: set[str]) -> None:
    files = build / "00-import.qir", build / "02-quantize.qir"
    facts = json.loads(run("diff", *files, "--json", *words).out)
    everything = diff_graphs(load(files[0]), load(files[1])).sizes()
    assert facts["sizes"] == {n: s if n in sections else 0 for n, s in everything.items()}


def test_attention_decides_the_exit_code(run: Run, build: Path) -> None:
    files = build / "02-quantize.qir", build / "03-calibrate.qir"
    assert run("diff", *files, "--structure").code == 0
    assert run("diff", *files, "--quantization").code == 1


def test_html_is_one_file_and_escapes_names(run: Run, build: Path, tmp_path: Path) -> None:
    graph = load(build / "01-opt.qir")
    save(replace(graph, target="<script>"), tmp_path / "b.qir", inline_limit=None)
    page = tmp_path / "page.html"
    assert run("diff", build / "01-opt.qir", tmp_path / "b.qir", "--html", page).code == 1
    text = page.read_text(encoding="utf-8")
    assert "&lt;script&gt;" in text
    assert "<script" not in text
    assert "http" not in text
    assert '<td class="after">' in text


@pytest.mark.parametrize(
    "words",
    [
        ["diff", "none.qir", "none.qir"],
        ["diff", "01-opt.qir", "report.json"],
        ["diff", "01-opt.qir", "02-quantize.qir", "--html", "none/page.html"],
        ["compare", "none.qir", "01-opt.qir", "--data", "none.npz"],
        ["compare", ".", ".", "--data", "none.npz"],
        ["diff", "01-opt.qir"],
    ],
)
def test_trouble_is_exit_code_2(
    run: Run, build: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(build)
    result = run(*words)
    assert result.code == 2
    assert "rror" in result.err
    assert "Traceback" not in result.err


def test_every_section_has_a_text_and_a_place_on_the_page(build: Path) -> None:
    stages = [load(path) for path in sorted(build.glob("*.qir"))]
    for one, other in itertools.pairwise(stages):
        found = diff_graphs(one, other)
        text = "\n".join(line.plain for line in diff_lines(found))
        page = diff_page(found, "a", "b")
        for ref in (*found.added, *found.removed):
            assert ref.name in text
            assert ref.name in page
        assert text.splitlines()[0] == found.verdict()
        for change in found.metadata:
            assert change.name in text


def _compare(run: Run, *words: object) -> tuple[int, str]:
    data = ("--data", DEMO / "digits_test.npz", "--recipe", DEMO / "digits.toml", "--samples", 2)
    result = run("compare", *words, *data, "--quiet")
    return result.code, result.out


def test_compare_prints_a_table_and_json(run: Run, build: Path) -> None:
    code, out = _compare(run, build / "05-lower.qir", build / "06-plan.qir", "--threshold", "inf")
    assert code == 0
    assert out.startswith("same within inf dB")
    stages = build / "01-opt.qir", build / "04-opt.qir"
    code, out = _compare(run, *stages, "--threshold", 99, "--json")
    facts = json.loads(out)
    assert code == 1
    assert facts["first"] == facts["values"][0]
    assert facts["first"]["sqnr_db"] < 99
