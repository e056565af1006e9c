"""The command: it does what is missing, and writes the page from all that is there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from quantable.bench.accuracy import __main__ as command
from quantable.bench.accuracy.measure import Bench, MeasurementError
from quantable.bench.accuracy.outcome import Outcome, Reference
from quantable.bench.accuracy.results import Result
from quantable.bench.accuracy.suites import Case


class Fake:
    """Stands in for measuring: remembers what was asked for."""

    def __init__(self) -> None:
        self.measured: list[str] = []
        self.failing: set[str] = set()
        self.sources = "first"

    def components(self, bench: Bench, case: Case) -> dict[str, str]:
        return {"tool": case.tool, **({"sources": self.sources} if case.is_own else {})}

    def measure(self, bench: Bench, case: Case) -> Result:
        if case.tool in self.failing:
            raise MeasurementError(f"{case.tool} failed")
        self.measured.append(case.tool)
        noise = 0.0001 if case.is_own else 0.001
        flags = np.array([True] * 3 + [False])
        found = Result(
            bench.components(case),
            1.0,
            2.0,
            100.0,
            None,
            Outcome(np.full((1, 4), noise), flags, flags),
        )
        bench.results.store(case, found)
        return found


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    found = Fake()
    scores = np.tile(np.array([[1.0, 0.0]]), (4, 1))
    real = Reference((scores,), np.array([0, 0, 0, 1]))
    monkeypatch.setattr(Bench, "components", lambda bench, case: found.components(bench, case))
    monkeypatch.setattr(Bench, "measure", lambda bench, case: found.measure(bench, case))
    monkeypatch.setattr(Bench, "reference", lambda bench, item: real)
    return found


def run(folder: Path, *words: str) -> tuple[int, str]:
    """Run the command in a folder; return its code and page."""
    page = folder / "page.md"
    code = command.main(["--results", str(folder / "results"), "--output", str(page), *words])
    return code, page.read_text(encoding="utf-8")


CHOSEN = ("--suites", "w8a8", "--networks", "resnet8", "--tools", "nncf", "*/fast")
OWN = ["onnxruntime/fast", "x86-vnni/fast"]


def test_a_second_run_does_only_what_is_missing(fake: Fake, tmp_path: Path) -> None:
    code, text = run(tmp_path, *CHOSEN)
    assert code == 1  # most of the table is not there
    assert fake.measured == ["nncf", *OWN]
    assert "| resnet8 | 4 | nncf |" in text
    run(tmp_path, *CHOSEN, "ort-minmax")
    assert fake.measured == ["nncf", *OWN, "ort-minmax"]
    _, text = run(tmp_path, "--page-only")
    assert fake.measured == ["nncf", *OWN, "ort-minmax"]
    assert text.count("| resnet8 | 4 |") == 4
    assert "- w8a8, nncf: resnet20, " in text


def test_ours_are_done_again_for_other_sources_unless_allowed(fake: Fake, tmp_path: Path) -> None:
    run(tmp_path, *CHOSEN)
    fake.sources, fake.measured = "second", []
    _, text = run(tmp_path, *CHOSEN, "--other-sources")
    assert fake.measured == []
    assert "| onnxruntime/fast† |" in text
    assert "| nncf |" in text
    _, text = run(tmp_path, "--page-only")
    assert "onnxruntime/fast |" not in text
    _, text = run(tmp_path, *CHOSEN)
    assert fake.measured == OWN
    assert "†" not in text


def test_a_tool_that_fails_does_not_stop_the_others(
    fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.failing = {"nncf"}
    code, text = run(tmp_path, *CHOSEN)
    assert code == 2
    assert fake.measured == OWN
    assert "nncf failed" in capsys.readouterr().err
    assert "| nncf |" not in text


def test_an_unknown_name_is_an_error_in_one_line(
    fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--networks", "resnet9", "--results", str(tmp_path / "results")]) == 1
    assert "error: unknown network 'resnet9'" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


_STOPPED = """
import subprocess, sys
from quantable.bench.accuracy import __main__ as command
from quantable.bench.accuracy.measure import Bench

def measure(bench, case):
    (bench.scratch / "file").touch()
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(100)"
    subprocess.run([sys.executable, "-c", code])

Bench.components = lambda bench, case: {}
Bench.measure = measure
sys.argv[1:] = ["--results", "results", "--output", ""]
command.run()
"""


def test_asked_to_end_it_leaves_neither_processes_nor_files(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-c", _STOPPED], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert process.stdout is not None
    tool = int(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    process.stdout.close()
    assert process.wait(60) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(tool, 0)


def test_no_files_but_results_are_left(fake: Fake, tmp_path: Path) -> None:
    run(tmp_path, *CHOSEN)
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"page.md", "nncf.json", "onnxruntime.fast.json", "x86-vnni.fast.json"}
