"""Run many tests in a process of their own, which may crash or hang without harm."""

from __future__ import annotations

import argparse
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from quantable.bench.node_tests.cases import load_cases, with_constants
from quantable.bench.node_tests.judge import Status, Verdict, judge

FIRST_SECONDS, SECONDS = 300.0, 60.0
"""How long a worker may be silent: until its first test (it makes all of them), and in one."""

WORKER = ("-W", "ignore", "-m", "quantable.bench.node_tests.run")
"""What Python runs as a worker."""


@dataclass(frozen=True)
class Outcome:
    """How one test ended.

    Attributes:
        group, name: The test.
        kinds: Operations of the model, sub-graphs included, sorted.
        verdict: How it ended.
    """

    group: str
    name: str
    kinds: tuple[str, ...]
    verdict: Verdict


def run_cases(
    groups: Sequence[str] = (),
    names: Sequence[str] = (),
    *,
    every: int = 1,
    constants: bool = False,
) -> list[Outcome]:
    """Run tests; a worker that dies or is silent for too long is replaced by another.

    Args:
        groups: The groups to run, all where none is given.
        names: Parts of names to run, all where none is given.
        every: Run every so many-th of these.
        constants: Give all inputs but the first as constants of the model, where they are tensors.
    """
    chosen = [f"--group={group}" for group in groups] + [f"--name={name}" for name in names]
    chosen += [f"--every={every}", *(["--constants"] if constants else [])]
    found: list[Outcome] = []
    while True:
        more, is_done = _run_from(len(found), chosen)
        found += more
        if is_done:
            return found


def _run_from(start: int, chosen: Sequence[str]) -> tuple[list[Outcome], bool]:
    """Run tests from one on in a new worker, until it ends; return them, and whether all ran."""
    command = [sys.executable, *WORKER, str(start)]
    command += chosen
    found: list[Outcome] = []
    current: dict[str, object] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        lines = _lines_of(worker)
        limit = FIRST_SECONDS
        while True:
            try:
                line = lines.get(timeout=limit)
            except queue.Empty:
                worker.kill()
                verdict = Verdict(Status.HANG, f"no end within {limit:.0f} s")
                break
            limit = SECONDS
            if line is None:
                verdict = Verdict(Status.CRASH, f"the process ended with {worker.wait()}")
                break
            event = json.loads(line)
            if event["event"] == "done":
                return found, True
            if event["event"] == "begin":
                current = event
            else:
                status = Verdict(Status(event["status"]), event["reason"])
                found.append(_outcome(current, status))
                current = {}
    if not current:
        raise RuntimeError(f"the worker failed outside of a test: {verdict.reason}")
    return [*found, _outcome(current, verdict)], False


def _outcome(event: dict[str, object], verdict: Verdict) -> Outcome:
    kinds = event["kinds"]
    assert isinstance(kinds, list)
    return Outcome(str(event["group"]), str(event["name"]), tuple(kinds), verdict)


def _lines_of(worker: subprocess.Popen[str]) -> queue.Queue[str | None]:
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert worker.stdout is not None
        for line in worker.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _worker() -> None:
    """Run tests and print what happens, one JSON object a line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("start", type=int)
    parser.add_argument("--group", action="append", default=[])
    parser.add_argument("--name", action="append", default=[])
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--constants", action="store_true")
    given = parser.parse_args()
    cases = [
        case
        for case in load_cases(given.group)
        if not given.name or any(part in case.name for part in given.name)
    ]
    if given.constants:
        cases = [fixed for case in cases if (fixed := with_constants(case)) is not None]
    for case in cases[:: given.every][given.start :]:
        kinds = sorted(kinds_of(case.model()))
        _say({"event": "begin", "group": case.group, "name": case.name, "kinds": kinds})
        verdict = judge(case)
        _say({"event": "end", "status": verdict.status.value, "reason": verdict.reason})
    _say({"event": "done"})


def _say(event: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def kinds_of(model: object) -> set[str]:
    """Return the kinds of operations of a model, functions and sub-graphs included."""
    found: set[str] = set()
    waiting = [model.graph, *model.functions]  # type: ignore[attr-defined] # a ModelProto
    while waiting:
        for node in waiting.pop().node:
            found.add(f"{node.domain}.{node.op_type}" if node.domain else node.op_type)
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else []
                waiting += attribute.graphs
    return found


if __name__ == "__main__":
    _worker()
