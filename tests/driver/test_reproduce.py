"""A fault of a pass leaves one file that shows it again."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantable.driver import api
from quantable.ir import Graph, InternalError, InvariantError, OptionError, Profile, graph_digest
from quantable.passes.base import PassContext
from quantable.passes.calibrate.calibrate import Calibrate
from quantable.passes.canonicalize.eliminate_dead_code import EliminateDeadCode


def _crash(self: object, graph: Graph, context: PassContext) -> Graph:
    raise RuntimeError("planted")


def _break(self: object, graph: Graph, context: PassContext) -> Graph:
    raise InvariantError("planted", where="operation 'a'")


@pytest.mark.parametrize(("fault", "message"), [(_crash, "RuntimeError: planted"), (_break, "pl")])
def test_a_fault_leaves_a_reproducer_that_fails_again(
    canonical_graph: Graph,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    fault: object,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(EliminateDeadCode, "run", fault)
    with pytest.raises(InternalError) as caught:
        api.optimize(canonical_graph, "eliminate-dead-code")
    path = f"repro-eliminate-dead-code-{graph_digest(canonical_graph)[:12]}.qir"
    assert caught.value.message.startswith(f"pass 'eliminate-dead-code' failed: {message}")
    assert caught.value.help == f"replay it: quantable opt {path} --replay"
    assert [file.name for file in tmp_path.iterdir()] == [path], "one file, weights inside"
    held = api.load(path)
    with pytest.raises(InternalError, match="planted"):
        api.replay(held)
    monkeypatch.undo()
    assert graph_digest(api.replay(held)) == graph_digest(canonical_graph)


def test_target_and_profile_are_in_the_file(
    canonical_graph: Graph, profile: Profile, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    quantized = api.quantize(canonical_graph, "x86-vnni")
    whole = api.calibrate(quantized, profile, passes="calibrate")
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setattr(Calibrate, "run", _crash)
        with pytest.raises(InternalError):
            api.calibrate(quantized, profile)
    (path,) = tmp_path.iterdir()
    assert graph_digest(api.replay(api.load(path))) == graph_digest(whole)


def test_another_file_is_no_reproducer(canonical_graph: Graph) -> None:
    with pytest.raises(OptionError, match="is no reproducer"):
        api.replay(canonical_graph)


def test_a_pass_at_the_wrong_level_is_the_users_fault(canonical_graph: Graph) -> None:
    with pytest.raises(OptionError, match="pass 'bake': expected a graph of level quantable"):
        api.optimize(canonical_graph, "bake")
