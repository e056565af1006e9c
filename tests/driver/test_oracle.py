"""What the status of an oracle command means."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from quantable.driver.oracle import CommandOracle
from quantable.ir import Graph, OptionError


def command(code: str) -> str:
    return f'{sys.executable} -c "{code}"'


@pytest.mark.parametrize(
    ("status", "verdict"), [(0, True), (1, False), (124, False), (125, None), (127, False)]
)
def test_statuses_are_those_of_git_bisect(
    canonical_graph: Graph, status: int, verdict: bool | None
) -> None:
    oracle = CommandOracle(command(f"raise SystemExit({status})"))
    assert oracle.is_good(canonical_graph) is verdict
    assert oracle.is_interesting(canonical_graph, None) is (status == 0)


@pytest.mark.parametrize("code", ["raise SystemExit(128)", "import os; os.kill(os.getpid(), 9)"])
def test_a_status_above_127_and_a_signal_are_no_verdict(canonical_graph: Graph, code: str) -> None:
    oracle = CommandOracle(command(code))
    with pytest.raises(OptionError, match="expected an exit status of 0 to 127, found"):
        oracle.is_good(canonical_graph)
    assert not oracle.is_interesting(canonical_graph, None)


def test_a_crash_can_be_what_is_looked_for(canonical_graph: Graph) -> None:
    """As with delta debugging in general: the command decides what is interesting."""
    shell = "os.spawnv(os.P_WAIT, '/bin/sh', ['sh', '-c', 'kill -9 $$'])"
    crash = f"import os, sys; sys.exit({shell} != -9)"
    assert CommandOracle(command(crash)).is_interesting(canonical_graph, None)


def test_the_file_and_the_inputs_are_handed_over(canonical_graph: Graph, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    code = (
        "import sys, numpy; from quantable.schema import load; g = load(sys.argv[1]); "
        f"open('{seen}', 'w').write(f'{{len(g.operations)}} {{numpy.load(sys.argv[2]).files}}')"
    )
    inputs = {"image": np.zeros((1, 1, 8, 8), np.float32)}
    assert CommandOracle(command(code) + " {} {inputs}").is_interesting(canonical_graph, inputs)
    assert seen.read_text() == f"{len(canonical_graph.operations)} ['image']"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "expected a command, found nothing"),
        ("sh 'x", "No closing quotation"),
        ("/no/such/program", "'/no/such/program' cannot be started: No such file or directory"),
        ("/", "'/' cannot be started: Permission denied"),
    ],
)
def test_a_command_that_cannot_be_run(canonical_graph: Graph, words: str, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        CommandOracle(words).is_good(canonical_graph)
    assert message in str(caught.value)
