"""Speed of the float reference beside ONNX Runtime: ``python -m quantable.bench.reference``.

ResNet-50, MobileNetV2 and BERT-base (built by ``zoo.py``, random weights) on a batch of 8 with 2
threads. Both runtimes are in one process and take turns run by run, so that a slow phase of the
machine meets both. A run starts when the threads of the run before have come to rest: those of ONNX
Runtime look for more work for some 50 ms. Peak memory is that of a fresh process each.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import Any

import numpy as np

from quantable.bench.ending import add_page, add_zoo, end
from quantable.bench.machine import describe_machine, peak_memory_mb, versions
from quantable.bench.reference_page import page
from quantable.bench.zoo import rebatched, zoo_models
from quantable.driver import api
from quantable.reference import ReferenceRuntime

NETWORKS = ("resnet50", "mobilenet_v2", "bert_base_128")
BAR = 1.5
TOOLS = ("quantable", "onnxruntime")
PACKAGES = ("torch", "onnx", "onnxruntime", "numpy")
Call = Callable[[], np.ndarray[Any, Any]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the page, and return 0 where the bar holds."""
    options = _parse(arguments)
    if options.memory:
        sys.stdout.write(f"{_memory(options)}\n")
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        models = zoo_models(options.zoo, Path(scratch), options.networks)
        rows = [_row(name, model, Path(scratch), options) for name, model in models.items()]
    facts = {
        "machine": describe_machine(), "versions": versions(PACKAGES), "rows": rows,
        "batch": options.batch, "threads": options.threads, "runs": options.runs, "bar": BAR,
    }  # fmt: skip
    end(facts, page, options.output)
    return 1 if any(row["wall_ratio"] > BAR for row in rows) else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m quantable.bench.reference",
        description="Measure the float reference beside ONNX Runtime, in turn in one process.",
        epilog="Example: python -m quantable.bench.reference --runs 20",
    )
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--batch", type=int, default=8, help="samples of a run")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=15, help="of which the median is taken")
    add_zoo(parser)
    add_page(parser, "reference-speed.md")
    parser.add_argument("--memory", nargs=2, metavar=("TOOL", "MODEL"), help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _row(name: str, model: Path, scratch: Path, options: argparse.Namespace) -> dict[str, Any]:
    sys.stderr.write(f"{name}\n")
    path = rebatched(model, scratch / f"{name}.batch.onnx", options.batch)
    calls = {tool: _opened(tool, path, options.threads) for tool in TOOLS}
    results = {tool: call() for tool, call in calls.items()}  # the first run is no measurement
    distance = float(np.abs(results["quantable"] - results["onnxruntime"]).max())
    seconds: dict[str, list[tuple[float, float]]] = {tool: [] for tool in TOOLS}
    for run in range(options.runs):
        for tool in TOOLS if run % 2 else TOOLS[::-1]:
            rest()
            start, used = perf_counter(), process_time()
            calls[tool]()
            seconds[tool].append((perf_counter() - start, process_time() - used))
    row: dict[str, Any] = {"network": name, "largest_difference": distance}
    for index, kind in enumerate(("wall", "processor")):
        mine, theirs = ([pair[index] for pair in seconds[tool]] for tool in TOOLS)
        row[f"{kind}_s"] = [statistics.median(mine), statistics.median(theirs)]
        row[f"{kind}_ratio"] = statistics.median(mine) / statistics.median(theirs)
        row[f"{kind}_best_ratio"] = min(mine) / min(theirs)
    row["peak_mb"] = [_fresh_memory(tool, path, options) for tool in TOOLS]
    return row


def rest(pause: float = 0.02, busy: float = 0.05) -> None:
    """Wait until no thread of this process computes.

    Args:
        pause: Seconds for which nothing has to happen.
        busy: The share of a processor that counts as nothing.

    Raises:
        TimeoutError: Threads still compute after 100 pauses.
    """
    for _ in range(100):
        used = process_time()
        sleep(pause)
        if process_time() - used < pause * busy:
            return
    raise TimeoutError(f"threads of this process compute without an end ({100 * pause} s)")


def _opened(tool: str, model: Path, threads: int) -> Call:
    """Return what runs a network on one drawn batch."""
    if tool == "onnxruntime":
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(model, settings, ["CPUExecutionProvider"])
        feeds = {item.name: _drawn(item.shape) for item in session.get_inputs()}
        return lambda: np.asarray(session.run(None, feeds)[0])
    graph = api.canonicalize(api.import_model(model))
    runtime = ReferenceRuntime(graph, threads=threads)
    shapes = {name: graph.values[name].shape or () for name in graph.inputs}
    given = {name: _drawn([int(dim) for dim in shape]) for name, shape in shapes.items()}
    return lambda: next(iter(runtime.run(given).values()))


def _drawn(shape: Sequence[int]) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _memory(options: argparse.Namespace) -> float:
    """Run a network three times and return the most memory that this process has held, in MiB."""
    tool, model = options.memory
    call = _opened(tool, Path(model), options.threads)
    for _ in range(3):
        call()
    return peak_memory_mb()


def _fresh_memory(tool: str, model: Path, options: argparse.Namespace) -> float:
    command = [sys.executable, "-W", "ignore", "-m", "quantable.bench.reference"]
    more = ["--threads", str(options.threads), "--memory", tool, str(model)]
    done = subprocess.run([*command, *more], capture_output=True, text=True, check=True)
    return float(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
