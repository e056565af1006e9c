"""Measure what is missing in a folder of results."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from quantable.bench import peers
from quantable.bench.accuracy import evaluate
from quantable.bench.accuracy.outcome import Reference
from quantable.bench.accuracy.results import Result, Results, changes, components, data_components
from quantable.bench.accuracy.suites import Case
from quantable.bench.datasets import Network, network
from quantable.driver import api


class MeasurementError(Exception):
    """A tool failed; the message ends with what it said."""


class Bench:
    """Measures cases, each quantized in a fresh process.

    Args:
        shared: Folder of models and data.
        results: Where results are taken from and stored to.
        scratch: A folder for files that are needed only during the run.
    """

    def __init__(self, shared: Path, results: Results, scratch: Path) -> None:
        self.shared = shared
        self.results = results
        self.scratch = scratch
        self._data: dict[str, dict[str, str]] = {}

    def components(self, case: Case) -> dict[str, str]:
        """Return what a case depends on now."""
        return components(case, self._data_of(network(case.network)))

    def current(self, case: Case, allowed: frozenset[str] = frozenset()) -> Result | None:
        """Return the stored result of a case, None where it has to be measured.

        Args:
            case: The measurement.
            allowed: Components that may have changed.
        """
        found = self.results.load(case)
        if found is None or set(changes(found, self.components(case))) - allowed:
            return None
        return found

    def measure(self, case: Case) -> Result:
        """Quantize in a fresh process, evaluate and store.

        Raises:
            MeasurementError: The tool failed.
        """
        item = network(case.network)
        real = self.reference(item)
        with tempfile.TemporaryDirectory(dir=self.scratch) as name:
            folder = Path(name)
            facts = quantize(case.tool, self._model(item), self._images(item), folder)
            run = evaluate.runner(folder)
            outcome = evaluate.evaluate(run, real, item, self.shared)
            graph = folder / "quantized.qir"
            bits = evaluate.average_bits(api.load(graph)) if case.is_own else None
        result = Result(
            self.components(case), facts["work_s"], facts["work_cpu_s"], facts["peak_mb"], bits,
            outcome.rounded(),
        )  # fmt: skip
        self.results.store(case, result)
        return result

    def reference(self, item: Network) -> Reference:
        """Return the float network's outputs on the evaluation set, computed once."""
        data = self._data_of(item)
        found = self.results.reference(item, data)
        if found is None:
            found = evaluate.reference(self._model(item), item, self.shared)
            self.results.store_reference(item, data, found)
        return found

    def _data_of(self, item: Network) -> dict[str, str]:
        if item.name not in self._data:
            self._data[item.name] = data_components(item, self.shared)
        return self._data[item.name]

    def _model(self, item: Network) -> Path:
        """Return the float network without a last Softmax."""
        path = self.scratch / f"{item.name}.onnx"
        if not path.is_file():
            peers.cut_softmax(item.model(self.shared), path)
        return path

    def _images(self, item: Network) -> Path:
        """Return the file of calibration inputs."""
        path = self.scratch / f"{item.name}.npy"
        if not path.is_file():
            np.save(path, evaluate.calibration(item, self.shared))
        return path


def quantize(tool: str, model: Path, images: Path, folder: Path) -> dict[str, Any]:
    """Run a tool in a fresh process and return its times and memory.

    Raises:
        MeasurementError: It failed.
    """
    command = [sys.executable, "-W", "ignore", "-m", "quantable.bench.quantize_once"]
    done = subprocess.run(
        [*command, tool, str(model), str(images), str(folder)],
        capture_output=True, text=True, check=False, env=_environment(),
    )  # fmt: skip
    if done.returncode:
        raise MeasurementError(f"{tool} failed on {model.stem}:\n{_last_lines(done.stderr)}")
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def _last_lines(text: str, count: int = 6) -> str:
    return "\n".join(text.strip().splitlines()[-count:])


@functools.cache
def _environment() -> dict[str, str]:
    """Return the environment of tools: a source tree may keep its bytecode, as packages do."""
    return {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
