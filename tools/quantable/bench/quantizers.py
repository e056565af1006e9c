"""Time and memory of quantizers: ``python -m quantable.bench.quantizers``.

ResNet-50 and MobileNetV2 (built by ``zoo.py``, random weights), 64 images, from the ONNX file to a
calibrated quantized file on disk. Every measurement is a fresh process; tools take turns, so that a
slow phase of the machine meets all of them. Two times are given: that of the whole process, imports
of Python packages included, and that of the work after the imports.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from quantable.bench.datasets import DEFAULT_SHARED
from quantable.bench.ending import add_page, add_zoo, end
from quantable.bench.machine import describe_machine, versions
from quantable.bench.quantizers_page import page
from quantable.bench.zoo import zoo_models

NETWORKS = ("resnet50", "mobilenet_v2")
FAST, BALANCED, BEST = (f"onnxruntime/{effort}" for effort in ("fast", "balanced", "best"))
TOOLS = (
    "quantable", "second-target", FAST, BALANCED, BEST, "nncf", "nncf-accurate", "onnxruntime",
)  # fmt: skip
ONCE = frozenset({BEST})
"""Tools that take minutes: they are measured in the first run only."""
IMAGES = 64
MEMORY_LIMIT_MB = {"quantable": 1000, FAST: 1500, BALANCED: 1500, BEST: 1500}
SECOND_TARGET_PART = 0.25
PACKAGES = ("torch", "onnx", "onnxruntime", "nncf", "openvino", "numpy")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the page, and return 0 where every bar holds."""
    options = _parse(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        models = zoo_models(options.zoo, folder, options.networks)
        images = _images(options.shared, folder)
        rows = [
            {"network": name, **row}
            for name, model in models.items()
            for row in _measure(name, model, images, folder, options)
        ]
    facts = {"machine": describe_machine(), "versions": versions(PACKAGES), "rows": rows,
             "runs": options.runs, "misses": misses(rows)}  # fmt: skip
    end(facts, page, options.output)
    return 1 if facts["misses"] else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m quantable.bench.quantizers",
        description="Measure time and memory of quantizers, each in fresh processes.",
        epilog="Example: python -m quantable.bench.quantizers --runs 3",
    )
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--tools", nargs="+", default=list(TOOLS), choices=TOOLS)
    parser.add_argument("--runs", type=int, default=5, help="of which the median is taken")
    add_zoo(parser)
    parser.add_argument("--shared", type=Path, default=DEFAULT_SHARED, help="models and data")
    add_page(parser, "benchmark.md")
    return parser.parse_args(arguments)


def _images(shared: Path, folder: Path) -> Path:
    """Write the calibration images once, in a process of their own, and return the file."""
    path = folder / "images.npy"
    code = (
        "from quantable.bench import quantize_once as q; import sys; q.write_images(*sys.argv[1:])"
    )
    subprocess.run([sys.executable, "-c", code, str(shared), str(path), str(IMAGES)], check=True)
    return path


def _measure(
    name: str, model: Path, images: Path, folder: Path, options: argparse.Namespace
) -> list[dict[str, Any]]:
    results: dict[str, list[dict[str, float]]] = {tool: [] for tool in options.tools}
    for run in range(options.runs):
        # Every run begins with another tool, but the second target needs the first one's files.
        for tool in _rotated(options.tools, run):
            if run and tool in ONCE:
                continue
            sys.stderr.write(f"{name}: run {run + 1} of {options.runs}, {tool}\n")
            results[tool].append(_once(tool, model, images, folder / f"{name}-{run}"))
    return [
        {"tool": tool, **{key: statistics.median(r[key] for r in found) for key in found[0]}}
        for tool, found in results.items()
    ]


def _rotated(tools: Sequence[str], run: int) -> list[str]:
    others = [tool for tool in tools if tool not in ("quantable", "second-target")]
    own = [tool for tool in tools if tool not in others]
    groups = [own, *([tool] for tool in others)]
    shift = run % len(groups)
    return [tool for group in (*groups[shift:], *groups[:shift]) for tool in group]


def _once(tool: str, model: Path, images: Path, folder: Path) -> dict[str, float]:
    """Run one tool in a fresh process; it prints its work time and its peak memory."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-W", "ignore", "-m", "quantable.bench.quantize_once"]
    # Installed packages have their bytecode; let a source tree keep its own, too.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    start = perf_counter()
    done = subprocess.run(
        [*command, tool, str(model), str(images), str(folder)],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    elapsed = perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{tool} failed on {model.name}:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {"process_s": elapsed, **found}


def misses(rows: list[dict[str, Any]]) -> list[str]:
    """Return the bars that are missed, in words."""
    found = []
    for name in dict.fromkeys(row["network"] for row in rows):
        by_tool = {row["tool"]: row for row in rows if row["network"] == name}
        found += [f"{name}: {miss}" for miss in _misses(by_tool)]
    return found


def _misses(by_tool: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield the bars that one network misses."""
    peers = [by_tool[tool] for tool in ("nncf", "onnxruntime") if tool in by_tool]
    slower = [by_tool["nncf-accurate"]] if "nncf-accurate" in by_tool else []
    for tool, others, who in (
        ("quantable", peers, "the faster peer"), (FAST, peers, "the faster peer"),
        (BALANCED, slower, "NNCF with accurate bias correction"),
    ):  # fmt: skip
        for key in ("process_s", "work_s") if tool in by_tool and others else ():
            mine, best = by_tool[tool][key], min(other[key] for other in others)
            if mine > best:
                yield f"{tool} {key} {mine:.2f}, {who} {best:.2f}"
    yield from _second_target(by_tool)
    for tool, most in MEMORY_LIMIT_MB.items():
        if tool in by_tool and by_tool[tool]["peak_mb"] > most:
            yield f"{tool} peak memory {by_tool[tool]['peak_mb']:.0f} MB of {most}"


def _second_target(by_tool: dict[str, dict[str, Any]]) -> Iterator[str]:
    first, second = by_tool.get("quantable"), by_tool.get("second-target")
    if first is None or second is None:
        return
    for key in ("process_s", "work_s"):
        if second[key] >= SECOND_TARGET_PART * first[key]:
            yield f"second target {key} {second[key]:.2f} of {first[key]:.2f}"


if __name__ == "__main__":
    sys.exit(main())
