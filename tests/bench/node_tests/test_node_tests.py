"""The standard's own tests: a sample in the default suite, all of them in the slow one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from quantable.bench.node_tests import run
from quantable.bench.node_tests.judge import Status
from quantable.bench.node_tests.page import (
    DISPUTED,
    described,
    left_out_rows,
    microsoft_rows,
    operation_rows,
    reason_of,
    topic,
)
from quantable.bench.node_tests.run import Outcome, run_cases
from quantable.ir.standard_operations import standard_operations

PAGE = Path(__file__).resolve().parents[3] / "docs/operators.md"
BAR = 0.97
NEVER = {Status.FAULT, Status.CRASH, Status.HANG, Status.REFUSED}


def listed() -> set[str]:
    """The tests that the page says do not pass."""
    return set(re.findall(r"^\| (test_\w+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))


def check(outcomes: Sequence[Outcome]) -> None:
    """What fails is on the page, with the same reason; nothing crashes, hangs or is at fault."""
    text = PAGE.read_text(encoding="utf-8")
    for outcome in outcomes:
        status, name = outcome.verdict.status, outcome.name
        assert status not in NEVER, f"{name}: {outcome.verdict}"
        assert (status is Status.WRONG) == (name in DISPUTED), f"{name}: {outcome.verdict}"
        assert (status is not Status.PASS) == (name in listed()), f"{name}: {outcome.verdict}"
        if status is not Status.PASS:
            assert reason_of(outcome) in text, name


def test_every_eighth_test_ends_as_the_page_says() -> None:
    outcomes = run_cases(["node", "simple"], every=8)
    assert len(outcomes) > 200
    check(outcomes)


@pytest.mark.slow
def test_all_tests_end_as_the_page_says() -> None:
    outcomes = run_cases()
    check(outcomes)
    assert listed() == {o.name for o in outcomes if o.verdict.status is not Status.PASS}
    about = [o for o in outcomes if o.group == "node" and topic(o) == "inference"]
    passed = sum(o.verdict.status is Status.PASS for o in about)
    assert passed / len(about) >= BAR
    assert Counter(o.verdict.status for o in outcomes if o.group == "light") == {Status.PASS: 9}
    rows = list(operation_rows(outcomes))
    assert "\n".join(rows) in PAGE.read_text(encoding="utf-8")


@pytest.mark.slow
def test_constant_inputs_change_nothing() -> None:
    outcomes = run_cases(["node"], constants=True)
    assert len(outcomes) > 1200
    check(outcomes)


def test_the_page_has_every_operation() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    held = [line for line in lines if any(line.startswith(described(row)) for row in ROWS)]
    assert len(held) == len(ROWS)
    assert set(microsoft_rows()) <= set(lines)
    assert set(left_out_rows()) <= set(lines)


ROWS = list(standard_operations().values())


@pytest.mark.parametrize(
    ("code", "status"),
    [("import os; os._exit(3)", Status.CRASH), ("import time; time.sleep(99)", Status.HANG)],
)
def test_a_test_that_ends_or_stops_its_process_is_told(
    code: str, status: Status, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker is replaced by one that begins a test and ends, or stops; the next one goes on."""
    worker = tmp_path / "worker.py"
    begin = '{"event": "begin", "group": "node", "name": "test_%s", "kinds": []}'
    end = '{"event": "end", "status": "pass", "reason": ""}'
    worker.write_text(
        "import sys\n"
        "if sys.argv[1] == '0':\n"
        f"    print('{begin % 'bad'}', flush=True)\n    {code}\n"
        f"print('{begin % 'good'}')\nprint('{end}')\nprint('{{\"event\": \"done\"}}')\n"
    )
    monkeypatch.setattr(run, "WORKER", (str(worker),))
    monkeypatch.setattr(run, "SECONDS", 2.0)
    found = [(outcome.name, outcome.verdict.status) for outcome in run_cases()]
    assert found == [("test_bad", status), ("test_good", Status.PASS)]
