"""Compile the shared networks here, and check the files in another environment.

    python -m tests.networks.elsewhere write FOLDER     # in one environment
    python -m tests.networks.elsewhere check FOLDER     # in another one: Python, NumPy, machine ...

``check`` redoes the history of every file and compares all digests, then compiles every network
again and compares all bytes. The exit code is 0 where nothing differs.
"""

from __future__ import annotations

import argparse
import filecmp
import importlib.metadata
import platform
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from quantable.bench.datasets import NETWORKS
from quantable.driver import api
from quantable.driver.compile import Calibration, compile_model
from quantable.driver.replay import replay_history
from tests.networks.conftest import TARGETS, Case

PACKAGES = ("torch", "onnx", "numpy", "lark")


def write(case: Case, folder: Path) -> None:
    """Compile one network for each target."""
    calibration = Calibration(data=case.calibration())
    for target in TARGETS:
        compile_model(case.model, folder / target, target=target, calibration=calibration)


def replayed(case: Case, folder: Path) -> Iterator[tuple[Path, str, bool]]:
    """Yield (file, stage, whether it gives the digest that the file says)."""
    for path in sorted(folder.glob("*/*.qir")):
        profile = api.load_profile(path.parent / "calibration.qprof")
        for one in replay_history(api.load(path), model=case.model, profile=profile):
            yield path, one.stage, one.is_equal


def different(folder: Path, again: Path) -> list[str]:
    """Return the files of two folders that are not the same bytes in both."""
    names = {
        path.relative_to(root).as_posix()
        for root in (folder, again)
        for path in root.rglob("*")
        if path.is_file()
    }
    return sorted(filecmp.cmpfiles(folder, again, names, shallow=False)[1]) + sorted(
        name for name in names if not ((folder / name).is_file() and (again / name).is_file())
    )


def check(case: Case, folder: Path) -> tuple[int, int, list[str]]:
    """Return (files replayed, digests compared, what differs) of one network."""
    ends = list(replayed(case, folder))
    faults = [f"{path.name}: {stage}" for path, stage, is_equal in ends if not is_equal]
    with tempfile.TemporaryDirectory() as scratch:
        write(case, Path(scratch))
        faults += different(folder, Path(scratch))
    return len({path for path, _, _ in ends}), len(ends), faults


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check, and say what differs."""
    parser = argparse.ArgumentParser(description="Check the files of another environment.")
    parser.add_argument("action", choices=("write", "check"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    options = parser.parse_args(arguments)
    found = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    print(f"Python {platform.python_version()}, {', '.join(found)}")  # noqa: T201
    files = digests = faults = 0
    for name in options.networks:
        case, folder = Case(NETWORKS[name]), options.folder / name
        if options.action == "write":
            write(case, folder)
            continue
        counts = check(case, folder)
        files, digests, faults = files + counts[0], digests + counts[1], faults + len(counts[2])
        print(name, *counts, flush=True)  # noqa: T201
    if options.action == "check":
        print(f"{files} files, {digests} digests, {faults} differences")  # noqa: T201
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
