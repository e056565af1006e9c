"""Instruments see every pass, and change nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from quantable.driver import api
from quantable.driver.instruments.dump import Dump
from quantable.driver.instruments.selection import Selection
from quantable.driver.instruments.timing import Timing, lines
from quantable.ir import (
    Graph,
    InternalError,
    OptionError,
    QuantableOperation,
    UnknownNameError,
    graph_digest,
)
from quantable.passes.base import CHECKS, PassContext, run_passes
from quantable.passes.canonicalize.eliminate_dead_code import EliminateDeadCode
from quantable.passes.instruments.instrument import Instrument, Step
from quantable.passes.registry import GROUPS, pass_class
from tests.driver.conftest import Digits

NAMES = GROUPS["canonicalize"]


@pytest.fixture(scope="module")
def imported(digits: Digits) -> Graph:
    return api.import_model(digits.model)


class _Log(Instrument):
    name: ClassVar[str] = "log"

    def __init__(self, label: str, log: list[str], skipped: str = "") -> None:
        self.label, self.log, self.skipped = label, log, skipped

    def should_run(self, step: Step) -> bool:
        return step.item.name != self.skipped

    def before(self, step: Step) -> None:
        self.log.append(f"{self.label} before {step.item.name}")

    def after(self, step: Step, result: Graph) -> None:
        self.log.append(f"{self.label} after {step.item.name}")

    def failed(self, step: Step, error: Exception) -> None:
        self.log.append(f"{self.label} failed {step.item.name}: {error}")


def _canonicalize(graph: Graph, *instruments: Instrument) -> Graph:
    return api.optimize(graph, "canonicalize", instruments=instruments)


def test_hooks_enclose_each_other(canonical_graph: Graph) -> None:
    log: list[str] = []
    outer, inner = _Log("outer", log), _Log("inner", log)
    api.optimize(canonical_graph, "eliminate-dead-code", instruments=(outer, inner))
    assert log == [
        "outer before eliminate-dead-code", "inner before eliminate-dead-code",
        "inner after eliminate-dead-code", "outer after eliminate-dead-code",
    ]  # fmt: skip


def test_a_failure_is_told_to_all(
    canonical_graph: Graph, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def crash(self: object, graph: Graph, context: PassContext) -> Graph:
        raise RuntimeError("planted")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(EliminateDeadCode, "run", crash)
    log: list[str] = []
    timing = Timing()
    with pytest.raises(InternalError, match="planted"):
        api.optimize(
            canonical_graph, "eliminate-dead-code",
            instruments=(_Log("a", log), _Log("b", log), Dump(tmp_path / "dump"), timing),
        )  # fmt: skip
    assert log[2:] == [f"{one} failed eliminate-dead-code: planted" for one in "ba"]
    assert (tmp_path / "dump/001-eliminate-dead-code.failed.qir").is_file()
    assert [row.calls for row in timing.rows] == [1]


def test_a_pass_that_should_not_run_leaves_no_record(imported: Graph) -> None:
    done = _canonicalize(imported, _Log("a", [], skipped="fold-batchnorm"))
    names = [record.name for record in done.history]
    assert names == ["import", *(name for name in NAMES if name != "fold-batchnorm")]
    assert any(op.kind == "BatchNormalization" for op in done.operations)


def test_instruments_change_nothing(
    imported: Graph, canonical_graph: Graph, tmp_path: Path
) -> None:
    said: list[str] = []
    selection = Selection.of(
        said.append, timing=True, statistics=True, remarks=True, dump=tmp_path / "dump"
    )
    done = _canonicalize(imported, *selection.instruments)
    assert (done, done.history) == (canonical_graph, canonical_graph.history)
    selection.finish()
    assert any(line.startswith("statistics: fold-batchnorm: ") for line in said)
    assert any(line.startswith("timing: ") and line.endswith("  verification") for line in said)


def test_checks_and_dumps_have_rows_of_their_own(imported: Graph) -> None:
    timing = Timing()
    _canonicalize(imported, *(timing.of(one) for one in CHECKS), timing)
    with timing.measure("serialisation"):
        pass
    names = [row.name for row in timing.rows]
    assert names == [*NAMES, "change detection", "serialisation", "verification"]
    assert {row.name: row.calls for row in timing.rows}["verification"] == 2 * len(NAMES)
    assert len(lines(timing.rows)) == len(names) + 2


@pytest.mark.parametrize(
    ("when", "pattern", "expected"),
    [
        ("before", "", {name: {"before"} for name in NAMES}),
        ("after", "", {name: {"after"} for name in NAMES}),
        ("after", "clip|bias$", {name: {"after"} for name in ("normalize-clip", "merge-bias")}),
        (
            "changed", "",
            {name: {"before", "after"}
             for name in ("normalize-reshape", "merge-linear", "fold-batchnorm")},
        ),
        ("changed", "merge", {"merge-linear": {"before", "after"}}),
    ],
)  # fmt: skip
def test_dumps(
    imported: Graph, tmp_path: Path, when: str, pattern: str, expected: dict[str, set[str]]
) -> None:
    _canonicalize(imported, Dump(tmp_path, pattern, when))
    found: dict[str, set[str]] = {}
    for path in tmp_path.glob("*.qir"):
        match = re.fullmatch(r"(\d{3})-(.+)\.(before|after)\.qir", path.name)
        assert match, path.name
        assert int(match[1]) == NAMES.index(match[2]) + 1
        assert path.with_suffix(".txt").read_text(encoding="utf-8")
        found.setdefault(match[2], set()).add(match[3])
    assert found == expected


def test_a_dump_is_a_stage_file(imported: Graph, tmp_path: Path) -> None:
    _canonicalize(imported, Dump(tmp_path, "fold-batchnorm", "after"))
    (path,) = tmp_path.glob("*.qir")
    held = api.load(path)
    assert held.history[-1].name == "fold-batchnorm"
    assert held.history[-1].output_digest == graph_digest(held)


def test_a_dump_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="expected a regular expression, found '\\('"):
        Dump(tmp_path, "(")
    with pytest.raises(UnknownNameError, match="unknown moment of a dump 'never'"):
        Dump(tmp_path, "", "never")


def _lie(self: object, graph: Graph, context: PassContext) -> Graph:
    object.__setattr__(graph, "name", "spoiled")
    return graph


def _spoil(self: object, graph: Graph, context: PassContext) -> Graph:
    object.__setattr__(graph, "name", "spoiled")
    return replace(graph, name="other")


@pytest.mark.parametrize(
    ("fault", "message"),
    [(_lie, "says 'unchanged' and changed the"), (_spoil, "changed the graph")],
)
def test_a_pass_that_lies_is_at_fault(
    imported: Graph, monkeypatch: pytest.MonkeyPatch, fault: Callable[..., Graph], message: str
) -> None:
    monkeypatch.setattr(EliminateDeadCode, "run", fault)
    item = pass_class("eliminate-dead-code")()
    with pytest.raises(InternalError, match=f"pass 'eliminate-dead-code' {message}"):
        run_passes(replace(imported), [item], PassContext())


@pytest.mark.parametrize("method", ["conservative", "all-in"])
@pytest.mark.parametrize("table", ["", ' table=["/Add=float"]'])
def test_every_operation_that_stays_float_has_a_remark(
    canonical_graph: Graph, method: str, table: str
) -> None:
    remarks: api.Remarks = []
    passes = f'dispatch{{method="{method}"{table}}},assign-configs'
    graph = api.optimize(canonical_graph, passes, target="onnxruntime", remarks=remarks)
    left = [op for op in graph.operations if not isinstance(op, QuantableOperation)]
    said = {place: text for name, place, text in remarks if name == "dispatch"}
    assert set(said) == {op.where() for op in left}
    if table:
        (place,) = [op.where() for op in left if op.name == "/Add"]
        assert said[place] == "the dispatch table says float"
