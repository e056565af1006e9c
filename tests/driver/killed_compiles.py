"""Kill `compile` with a cache at random moments, and look at everything that it leaves.

    python -m tests.driver.killed_compiles 200

Each time the cache and the output folder are checked file by file, and the next run has to finish
with the bytes of a run without a cache. A run is a fork of a process that has imported everything,
so that the moments fall on work and not on imports. Numbers come from a fixed seed; the moments are
real time, which is why this is a script and its slice in the tests kills at counted renames.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from quantable.cli.main import main
from quantable.driver import api, runtime
from quantable.driver.cache import Cache, file_digest
from quantable.driver.files import problem_of

DEMO = Path(__file__).resolve().parents[2] / "tools/quantable/demo"
SAMPLES = (4, 6, 8)


def words(samples: int, output: Path, cache: Path | None) -> list[str]:
    """Return the command line of one compilation of the embedded network."""
    used = ["--cache", str(cache)] if cache else []
    return [
        "compile", str(DEMO / "digits.onnx"), "--target", "x86-vnni", "--quiet", "--recipe",
        str(DEMO / "digits.toml"), "--calibration", str(DEMO / "digits_calibration.npz"),
        "--threads", "1", "--samples", str(samples), "-o", str(output), *used,
    ]  # fmt: skip


def start(line: list[str]) -> int:
    """Run a command line in a fork; returns its process id."""
    process = os.fork()
    if process:
        return process
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        os._exit(main(line))


def finish(line: list[str]) -> None:
    """Run a command line to its end."""
    _, status = os.waitpid(start(line), 0)
    assert status == 0, f"exit status {status}: {line}"


def visible(folder: Path) -> dict[str, bytes]:
    """Return every file whose name does not begin with a dot: what a kill leaves does."""
    found = ((path.relative_to(folder), path) for path in folder.rglob("*") if path.is_file())
    return {
        name.as_posix(): path.read_bytes()
        for name, path in found
        if not any(part.startswith(".") for part in name.parts)
    }


def check(output: Path, cache: Path) -> int:
    """Check every file that a kill left; returns how many there were."""
    names = [path for path in visible(output) if path.endswith((".qir", ".qprof"))]
    for name in names:
        problem = problem_of(output / name)
        assert problem is None, f"{name}: {problem}"
    said: list[str] = []
    held = Cache(cache, say=said.append)
    entries = [entry for entry, _ in held.entries()]
    files = [name for name in visible(cache) if name.endswith(".json")]
    assert len(entries) == len(files), "an entry is damaged"
    for entry in entries:
        if entry.file.endswith(".qir"):
            assert held.graph(entry.stage, entry.components) is not None
        elif entry.file:
            assert held.profile(entry.stage, entry.components) is not None
        for digest in entry.segments:
            path = held.root / "objects/segments" / digest
            assert file_digest(path) == digest, f"{entry.name}: segment {digest}"
    assert said == []
    return len(names) + len(entries)


def kills(count: int, folder: Path) -> dict[str, int]:
    """Kill until `count` runs died, and check each time; returns what was seen."""
    runtime.executor()  # import torch here, before any fork
    api.import_model(DEMO / "digits.onnx")
    expected = {}
    for samples in SAMPLES:
        finish(words(samples, folder / f"clean-{samples}", None))
        expected[samples] = visible(folder / f"clean-{samples}")
    began = time.perf_counter()
    finish(words(SAMPLES[0], folder / "timed", folder / "timed-cache"))
    longest = time.perf_counter() - began
    numbers = np.random.Generator(np.random.Philox(key=count))
    seen = {"killed": 0, "finished before": 0, "files checked": 0}
    output, cache = folder / "build", folder / "cache"
    while seen["killed"] < count:
        if numbers.random() < 0.7:
            shutil.rmtree(cache, ignore_errors=True)
        samples = int(numbers.choice(SAMPLES))
        process = start(words(samples, output, cache))
        time.sleep(float(numbers.random()) * longest)
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        seen["killed" if os.WIFSIGNALED(status) else "finished before"] += 1
        seen["files checked"] += check(output, cache)
        finish(words(samples, output, cache))
        assert visible(output) == expected[samples], f"kill {seen['killed']}: other bytes"
    return seen


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        sys.stdout.write(f"{kills(int(sys.argv[1]), Path(name))}\n")
