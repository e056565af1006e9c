"""Networks quantized by other tools: ``python -m quantable.bench.quantized_networks``.

Each shared network is quantized by each tool; the file is imported, its quantizers are adopted, and
the result is run, written again and compared. Everything is deterministic; nothing is timed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from quantable.bench.datasets import DEFAULT_SHARED, NETWORKS, Network
from quantable.bench.machine import describe_machine, versions
from quantable.bench.peers import cut_softmax, input_name
from quantable.bench.quantized_networks.measure import measure
from quantable.bench.quantized_networks.page import page
from quantable.bench.quantized_networks.tools import TOOLS
from quantable.driver import api

ROOT = Path(__file__).resolve().parents[4]
PAGE = ROOT / "docs" / "quantized-networks.md"
RAW = "cut.onnx"
PACKAGES = ("numpy", "onnx", "onnxruntime", "nncf", "torch")
Facts = dict[str, dict[str, Any]]


def main() -> int:
    """Measure what is not known yet, write the page, and return 1 where a tool's file fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--tools", nargs="+", default=list(TOOLS), choices=TOOLS)
    parser.add_argument("--calibration", type=int, default=8, help="samples that tools are given")
    parser.add_argument("--samples", type=int, default=4, help="samples that are compared")
    parser.add_argument("--shared", type=Path, default=DEFAULT_SHARED, help="models and data")
    parser.add_argument("--keep", type=Path, help="a JSON file of results, which is continued")
    parser.add_argument("--output", type=Path, default=PAGE)
    options = parser.parse_args()
    kept: Facts = {}
    if options.keep and options.keep.is_file():
        kept = json.loads(options.keep.read_text(encoding="utf-8"))
    for key, facts in _measured(options, kept):
        kept[key] = facts
        sys.stderr.write(f"{key}: {facts}\n")
        if options.keep:
            options.keep.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    counts = {"calibration": options.calibration, "samples": options.samples}
    about = {"machine": describe_machine(), "versions": versions(PACKAGES), **counts}
    options.output.write_text(page(kept, about), encoding="utf-8")
    return 0


def _measured(options: argparse.Namespace, kept: Facts) -> Iterator[tuple[str, dict[str, Any]]]:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    for name in options.networks:
        tools = [tool for tool in options.tools if f"{name} {tool}" not in kept]
        if not tools:
            continue
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "float.onnx"
            given, inputs = _prepare(NETWORKS[name], options, model)
            own = api.quantize_network(
                model, {input_name(model): np.concatenate(given)}, "onnxruntime"
            )
            for tool in tools:
                source = model if TOOLS[tool].is_prepared else model.with_name(RAW)
                yield f"{name} {tool}", measure(TOOLS[tool], source, given, inputs, own)


def _prepare(
    network: Network, options: argparse.Namespace, model: Path
) -> tuple[list[Any], list[dict[str, Any]]]:
    """Write the float network, as ONNX Runtime's tool prepares it, and return inputs."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    cut = model.with_name(RAW)
    cut_softmax(network.model(options.shared), cut)
    with contextlib.redirect_stdout(io.StringIO()):
        quant_pre_process(str(cut), str(model))
    name = input_name(model)
    split = network.samples(options.shared, "calibration")
    given = [split.load(index)[None] for index in range(min(options.calibration, split.count))]
    test = network.samples(options.shared, "evaluation")
    return given, [{name: test.load(index)[None]} for index in range(options.samples)]


if __name__ == "__main__":
    sys.exit(main())
