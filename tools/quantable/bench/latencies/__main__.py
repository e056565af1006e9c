"""Latency of emitted code beside other int8 runtimes: ``python -m quantable.bench.latencies``.

``build`` makes and compiles everything ahead, ``measure`` takes minutes: runtimes take turns in one
process, network by network, with 1 and 2 threads.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from quantable.bench.ending import add_page, add_zoo, end
from quantable.bench.latencies.builds import FILES, NETWORKS, build, opened
from quantable.bench.latencies.page import misses, page
from quantable.bench.latency import CalledRunner, OwnRunner, Runner, interleaved, peer
from quantable.bench.machine import describe_machine, versions
from quantable.bench.zoo import zoo_models
from quantable.ir import UserError

PACKAGES = ("onnxruntime", "openvino", "nncf", "ai-edge-litert", "numpy")


def main(arguments: Sequence[str] | None = None) -> int:
    """Build or measure; return 0 where every bar holds."""
    options = _parse(arguments)
    if options.command == "build":
        models = zoo_models(options.zoo, options.folder / "models", options.networks)
        for name, model in models.items():
            for line in build(model, options.folder / name, tuple(options.threads), options.again):
                sys.stderr.write(f"{line}\n")
        return 0
    rows = [
        row
        for name in options.networks
        for threads in options.threads
        for row in _measured(name, options.folder / name, threads, options.seconds)
    ]
    facts = {"machine": describe_machine(), "versions": versions(PACKAGES), "rows": rows,
             "seconds": options.seconds, "misses": misses(rows)}  # fmt: skip
    end(facts, page, options.output)
    return 1 if facts["misses"] else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m quantable.bench.latencies",
        description="Measure emitted code beside ONNX Runtime, OpenVINO and LiteRT.",
        epilog="Example: python -m quantable.bench.latencies build peers/, then measure peers/",
    )
    parser.add_argument("command", choices=("build", "measure"))
    parser.add_argument("folder", type=Path, help="with a folder a network")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--again", action="store_true", help="build: emit our code again")
    parser.add_argument("--seconds", type=float, default=3.0, help="to run each runtime for")
    add_zoo(parser)
    add_page(parser, "latency.md")
    return parser.parse_args(arguments)


def _measured(name: str, folder: Path, threads: int, seconds: float) -> list[dict[str, Any]]:
    sys.stderr.write(f"{name}, {threads} threads\n")
    model = opened(folder, threads)
    runners: list[Runner] = [OwnRunner(model, "quantable")]
    for label, file in FILES.items():
        found, reasons = _peers(folder / file, label, threads)
        runners += found
        for reason in reasons:
            sys.stderr.write(f"  left out, {label}: {reason}\n")
    peak, macs = model.peak(), int(model.manifest["macs"])
    return [
        {
            "network": name, "threads": threads, "runtime": item.name, "runs": item.runs,
            "milliseconds": item.median * 1e3, "best": item.best * 1e3,
            "of_peak": macs / item.median / peak / threads if peak else None,
        }
        for item in interleaved(runners, seconds)
    ]  # fmt: skip


def _peers(path: Path, label: str, threads: int) -> tuple[list[Runner], list[str]]:
    if not path.is_file():
        return [], [f"there is no {path.name}"]
    try:
        found, reasons = peer(path, threads)
    except UserError as error:
        return [], [error.message]
    named: list[Runner] = [
        replace(runner, name=f"{runner.name.rsplit(' ', 1)[0]}, {label}")
        for runner in found
        if isinstance(runner, CalledRunner)
    ]
    return named, reasons


if __name__ == "__main__":
    sys.exit(main())
