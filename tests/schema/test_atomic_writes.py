"""A save that is killed at any moment leaves the old file or the new one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quantable.ir import Graph, UserError, Value
from quantable.schema import load, save
from quantable.schema.atomic import replacing

CHILD = """
import os, signal, sys
from quantable.schema import load, save
calls = 0
def dying(name):
    original = getattr(os, name)
    def call(*arguments):
        global calls
        calls += 1
        if calls == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments)
    return call
os.fsync, os.replace, os.open = dying("fsync"), dying("replace"), dying("open")
save(load(sys.argv[1]), sys.argv[2])
"""


def network(fill: float) -> Graph:
    graph = Graph("g")
    refs = {f"w{i}": graph.store.put(np.full(3000, fill + i, np.float32)) for i in range(2)}
    values = {name: Value(name, ref.dtype, ref.shape) for name, ref in refs.items()}
    return Graph("g", values=values, parameters=refs, store=graph.store)


def test_killed_saves_leave_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    old, new = network(0.0), network(100.0)
    (tmp_path / "source").mkdir()
    save(new, tmp_path / "source" / "new.qir", inline_limit=None)
    outcomes = []
    for moment in range(1, 40):
        target = tmp_path / str(moment) / "g.qir"
        target.parent.mkdir()
        save(old, target)
        run = subprocess.run(
            [sys.executable, "-c", CHILD, str(tmp_path / "source" / "new.qir"), str(target),
             str(moment)], check=False,
        )  # fmt: skip
        found = load(target)
        assert found in (old, new)
        for name in found.parameters:
            assert found.array(name)[0] in (0.0, 1.0, 100.0, 101.0)
        outcomes.append((run.returncode, found == new))
        if run.returncode == 0:
            break
    assert outcomes[0] == (-signal.SIGKILL, False)
    assert outcomes[-1] == (0, True)
    assert len(outcomes) > 6


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_refusal_of_the_system_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "g.qir"
    save(network(0.0), path, inline_limit=None)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, refuse)
    with pytest.raises(Exception, match="cannot write: No space left on device"):
        save(network(1.0), path, inline_limit=None)
    monkeypatch.undo()
    assert load(path) == network(0.0)
    assert [p.name for p in tmp_path.iterdir()] == ["g.qir"]


def test_a_loader_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "g.qir"
    save(network(0.0), path, inline_limit=None)
    empty = replace(network(7.0), store=Graph("").store)
    with pytest.raises(KeyError):
        save(empty, path, inline_limit=None)
    assert load(path) == network(0.0)
    assert [p.name for p in tmp_path.iterdir()] == ["g.qir"]


def test_contents_that_cannot_be_read_leave_no_folder(tmp_path: Path) -> None:
    empty = replace(network(7.0), store=Graph("").store)
    with pytest.raises(KeyError):
        save(empty, tmp_path / "g.qir", inline_limit=0)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such folder") as caught:
        save(network(0.0), tmp_path / "none/g.qir", inline_limit=None)
    assert caught.value.help == "make the folder first"


def test_what_a_killed_writer_left_is_removed_by_the_next_and_what_a_living_one_has_is_not(
    tmp_path: Path,
) -> None:
    for folder in (tmp_path, tmp_path / "segments"):
        folder.mkdir(exist_ok=True)
        (folder / ".quantable-0123.tmp").write_bytes(b"half a fi")
        (folder / ".other.tmp").write_bytes(b"not ours")
    with replacing(tmp_path / "slow.qir", durable=False) as file:
        file.write(b"first half, ")
        save(network(0.0), tmp_path / "g.qir")
        file.write(b"second half")
    assert (tmp_path / "slow.qir").read_bytes() == b"first half, second half"
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == [".other.tmp", "g.qir", "segments", "slow.qir"]
    assert len(list((tmp_path / "segments").iterdir())) == 3


def test_a_killed_save_leaves_nothing_that_the_next_does_not_remove(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    save(network(100.0), tmp_path / "source" / "new.qir", inline_limit=None)
    command = [sys.executable, "-c", CHILD, str(tmp_path / "source" / "new.qir")]
    killed = subprocess.run([*command, str(tmp_path / "g.qir"), "1"], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert list(tmp_path.rglob("*.tmp"))
    save(network(100.0), tmp_path / "g.qir")
    assert not list(tmp_path.rglob("*.tmp"))
