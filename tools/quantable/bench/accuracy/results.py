"""The folder of results: one file a measurement, with everything that it depends on.

A result is taken again only if nothing of that has changed, so a run that is stopped goes on where
it was, and a run after an edit does again what the edit may have changed.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantable.bench.accuracy.outcome import Outcome, Reference
from quantable.bench.accuracy.suites import Case
from quantable.bench.datasets import Network
from quantable.bench.machine import installed_version
from quantable.driver.cache_keys import environment, file_digest

Components = Mapping[str, str]
BENCH = Path(__file__).resolve().parents[1]
MEASURING = (
    "datasets.py", "peers.py", "quantize_once.py", "accuracy/evaluate.py", "accuracy/outcome.py",
)  # fmt: skip
"""Sources of the benchmark that can change a result; the others only choose and show results."""
OWN = ("own.py",)
"""Those that can change results of ours only."""
OTHER_SOURCES = frozenset({"sources"})
"""Components that may differ where results of other sources are asked for."""


@dataclass(frozen=True, eq=False)
class Result:
    """One measurement.

    Attributes:
        components: What it depends on.
        seconds, processor_s: Quantizing, from the float file to a quantized one, imports left
            out: on the clock, and of all cores together.
        peak_mb: Most memory of the process that quantized.
        bits: Bits of weights and of activations, on average; None for peers.
        outcome: The network that came out, sample by sample.
    """

    components: Components
    seconds: float
    processor_s: float
    peak_mb: float
    bits: tuple[float, float] | None
    outcome: Outcome


def data_components(item: Network, shared: Path) -> dict[str, str]:
    """Return the digests of a network's file and sets, and of the sources that measure."""
    return {
        "model": file_digest(item.model(shared)),
        **{split: item.data_digest(shared, split) for split in ("calibration", "evaluation")},
        "bench": _digest(MEASURING),
        "onnxruntime": installed_version("onnxruntime"),
    }


def components(case: Case, data: Components) -> dict[str, str]:
    """Return everything that a measurement depends on.

    Args:
        case: The measurement.
        data: `data_components` of its network.
    """
    if case.is_own:
        return {**data, **environment(), "tool": case.tool, "bench of ours": _digest(OWN)}
    packages = ["onnx", "numpy", *(["nncf", "openvino"] if case.tool.startswith("nncf") else [])]
    return {**data, "tool": case.tool, **{name: installed_version(name) for name in packages}}


@functools.cache
def _digest(names: tuple[str, ...]) -> str:
    h = hashlib.sha256()
    for name in names:
        content = (BENCH / name).read_bytes()
        h.update(f"{name}\0{len(content)}\0".encode() + content)
    return h.hexdigest()


class Results:
    """Files of results.

    Args:
        folder: Where they are; made when the first is stored.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, case: Case) -> Path:
        """Return the file of a measurement."""
        return self.folder / case.suite / case.network / f"{case.tool.replace('/', '.')}.json"

    def load(self, case: Case) -> Result | None:
        """Return what is stored for a case, whatever it depends on; None where nothing whole is."""
        try:
            found = json.loads(self.path(case).read_text(encoding="utf-8"))
            bits = found["bits"]
            return Result(
                found["components"], found["seconds"], found["processor_s"], found["peak_mb"],
                None if bits is None else (bits[0], bits[1]), Outcome.of_json(found["outcome"]),
            )  # fmt: skip
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def store(self, case: Case, result: Result) -> None:
        """Write a result in one step."""
        facts: dict[str, Any] = {
            "components": dict(result.components),
            "seconds": round(result.seconds, 3),
            "processor_s": round(result.processor_s, 3),
            "peak_mb": round(result.peak_mb, 1),
            "bits": result.bits,
            "outcome": result.outcome.to_json(),
        }
        _replace(self.path(case), json.dumps(facts).encode())

    def reference(self, item: Network, data: Components) -> Reference | None:
        """Return the float network's outputs; None where they are missing or of other inputs."""
        try:
            with np.load(self._float(item)) as found:
                if str(found["components"]) != json.dumps(dict(data)):
                    return None
                count = sum(name.startswith("output") for name in found.files)
                outputs = tuple(found[f"output{index}"] for index in range(count))
                return Reference(outputs, found["labels"] if "labels" in found.files else None)
        except (FileNotFoundError, ValueError, KeyError, EOFError):
            return None

    def store_reference(self, item: Network, data: Components, real: Reference) -> None:
        """Write the float network's outputs in one step."""
        arrays = {f"output{index}": output for index, output in enumerate(real.outputs)}
        if real.labels is not None:
            arrays["labels"] = real.labels
        scratch = self._float(item).with_suffix(".scratch.npz")
        scratch.parent.mkdir(parents=True, exist_ok=True)
        np.savez(scratch, components=np.array(json.dumps(dict(data))), **arrays)  # type: ignore[arg-type] # names are never 'allow_pickle'
        os.replace(scratch, self._float(item))

    def _float(self, item: Network) -> Path:
        return self.folder / "float" / f"{item.name}.npz"


def changes(result: Result, wanted: Components) -> list[str]:
    """Return the names of the components of a result that are not as wanted."""
    names = dict.fromkeys((*wanted, *result.components))
    return [name for name in names if wanted.get(name) != result.components.get(name)]


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_bytes(content)
    os.replace(scratch, path)
