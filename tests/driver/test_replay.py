"""A history is enough to make a file again, and shows where it cannot be."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from quantable.driver import api
from quantable.driver.compile import Compilation
from quantable.driver.replay import replay_history
from quantable.ir import Decision, Graph, OptionError, UserError
from quantable.ir.hashing import with_history
from quantable.passes.base import PassContext
from quantable.passes.refine.align import Align
from tests.driver.conftest import Digits

Compiled = Callable[[str], tuple[Path, Compilation]]


@pytest.mark.parametrize("target", ["x86-vnni", "onnxruntime"])
def test_every_file_is_made_again(digits: Digits, compiled: Compiled, target: str) -> None:
    _, made = compiled(target)
    for name, graph in made.graphs:
        done = replay_history(graph, model=digits.model, profile=made.profile)
        assert [one.stage for one in done if not one.is_equal] == [], name
        assert len(done) == len(graph.history) + 1


def test_every_file_is_made_again_from_the_one_before(compiled: Compiled) -> None:
    folder, made = compiled("x86-vnni")
    names = [name for name, _ in made.graphs]
    for before, after in itertools.pairwise(names):
        held, start = api.load(folder / after), api.load(folder / before)
        done = replay_history(held, start=start, profile=made.profile)
        assert all(one.is_equal for one in done)
        assert len(done) == len(held.history) - len(start.history) + 1


def test_the_first_stage_that_differs_is_named(
    digits: Digits, compiled: Compiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(self: Align, graph: Graph, context: PassContext) -> Graph:
        return replace(graph, metadata={**graph.metadata, "planted": "1"})

    _, made = compiled("x86-vnni")
    monkeypatch.setattr(Align, "run", other)
    done = replay_history(made.graphs[-1][1], model=digits.model, profile=made.profile)
    assert [one.stage for one in done if not one.is_equal] == ["align"]
    assert done[-1].stage == "align"
    assert done[-1].expected != done[-1].found


@pytest.mark.parametrize(
    ("field", "value", "fault"),
    [
        ("version", 9, "pass version: expected 9, found 1"),
        ("data_digest", "00ff", "data that it read: expected 00ff, found "),
        ("input_digest", "00ff", "graph that it read: expected 00ff, found "),
        ("output_digest", "00ff", ""),
    ],
)
def test_a_forged_record_is_seen(
    digits: Digits, compiled: Compiled, field: str, value: object, fault: str
) -> None:
    _, made = compiled("x86-vnni")
    graph = dict(made.graphs)["02-quantize.qir"]
    records = list(graph.history)
    index = [record.name for record in records].index("assign-configs")
    records[index] = replace(records[index], **{field: value})
    done = replay_history(with_history(graph, tuple(records)), model=digits.model)
    assert (done[-1].stage, done[-1].is_equal) == ("assign-configs", False)
    assert done[-1].fault.startswith(fault)


DECISION = Decision(("conv",), "rounding", "noise", float("nan"), 0.5, False, "not better")


@pytest.mark.parametrize(
    ("recorded", "fault"),
    [
        ((DECISION,), ""),
        ((), "decisions: expected 0, found 1"),
        (
            (replace(DECISION, after=0.25),),
            "decision 1: expected 'conv: rounding: noise nan -> 0.25",
        ),
    ],
)
def test_decisions_are_compared(
    digits: Digits, compiled: Compiled, monkeypatch: pytest.MonkeyPatch,
    recorded: tuple[Decision, ...], fault: str,
) -> None:  # fmt: skip
    def deciding(self: Align, graph: Graph, context: PassContext) -> Graph:
        context.decisions.append(DECISION)
        return plain(self, graph, context)

    plain = Align.run
    monkeypatch.setattr(Align, "run", deciding)
    graph = compiled("x86-vnni")[1].graphs[-1][1]
    history = tuple(
        replace(record, decisions=recorded) if record.name == "align" else record
        for record in graph.history
    )
    made = with_history(graph, history)
    done = replay_history(made, model=digits.model, profile=compiled("x86-vnni")[1].profile)
    assert [one.stage for one in done if not one.is_equal] == ["align"] * bool(fault)
    found = next(one for one in done if one.stage == "align").fault
    assert found.startswith(fault)
    assert bool(found) == bool(fault)


def test_another_model_and_an_edited_file_are_seen(
    digits: Digits, canonical_graph: Graph, tmp_path: Path
) -> None:
    copy = tmp_path / "net.onnx"
    copy.write_bytes(digits.model.read_bytes() + bytes([0x78, 0x01]))
    (only,) = replay_history(canonical_graph, model=copy)
    assert only.stage == "import"
    assert only.fault.startswith("data that it read: expected ")
    edited = replace(canonical_graph, name="edited")
    done = replay_history(edited, model=digits.model)
    assert [one.stage for one in done if not one.is_equal] == ["this file"]


def test_the_version_of_the_program_does_not_matter(digits: Digits, canonical_graph: Graph) -> None:
    records = tuple(replace(record, tool_version="0.0.1") for record in canonical_graph.history)
    done = replay_history(with_history(canonical_graph, records), model=digits.model)
    assert all(one.is_equal for one in done)


def test_what_cannot_be_redone_is_refused(
    digits: Digits, compiled: Compiled, canonical_graph: Graph
) -> None:
    _, made = compiled("x86-vnni")
    last = made.graphs[-1][1]
    with pytest.raises(OptionError, match="where to begin was not said"):
        replay_history(last)
    with pytest.raises(OptionError, match="stage 'calibrate' read statistics"):
        replay_history(last, model=digits.model)
    with pytest.raises(OptionError, match="has no history"):
        replay_history(with_history(canonical_graph, ()), model=digits.model)
    with pytest.raises(OptionError, match="is no earlier stage"):
        replay_history(canonical_graph, start=last)
    with pytest.raises(OptionError, match="is not what its own history says"):
        replay_history(last, start=replace(canonical_graph, name="edited"))
    dispatched = [record.name for record in last.history].index("dispatch")
    with pytest.raises(OptionError, match="does not begin with an import but with 'dispatch'"):
        replay_history(with_history(last, last.history[dispatched:]), model=digits.model)
    records = (*last.history, replace(last.history[-1], name="gone"))
    with pytest.raises(UserError, match="stage 'gone' cannot be redone: "):
        replay_history(with_history(last, records), start=last)
