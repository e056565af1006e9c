"""Instructions of CMSIS-NN and of ours: ``python -m quantable.bench.cmsis_nn --cmsis-nn DIR``.

The MLPerf Tiny networks are compiled for the target; the same layers, with the same weights,
become a program of calls of CMSIS-NN. Both run on the emulated core, which counts every
instruction of an inference: layers, the calls of them, and what they call of the C library.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from quantable.adapters.c_compiler import Array
from quantable.adapters.emulated import EmulatedModel
from quantable.bench.cmsis_nn.driver import Driver, driver
from quantable.bench.cmsis_nn.measure import Count, Theirs, ours
from quantable.bench.cmsis_nn.table import Row, steps_text, table
from quantable.bench.datasets import DEFAULT_SHARED, network
from quantable.bench.peers import input_name
from quantable.driver import api
from quantable.driver.compile import Calibration, compile_model
from quantable.ir import Graph, UserError
from quantable.reference import ReferenceRuntime

NETWORKS = ("resnet8", "dscnn_kws", "mobilenetv1_vww", "fc_autoencoder")
LEVELS = ("-O2", "-O3")
CALIBRATION = 128


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table; return 0 where ours take fewer instructions everywhere."""
    options = _parse(arguments)
    try:
        rows = [_measure(name, options) for name in options.networks]
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(table(rows) + "\n")
    return 0 if all(row.ours.instructions < row.theirs.instructions for row in rows) else 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m quantable.bench.cmsis_nn",
        description="Count the instructions of CMSIS-NN and of ours on an emulated core.",
        epilog="Example: python -m quantable.bench.cmsis_nn --cmsis-nn CMSIS-NN",
    )
    parser.add_argument("--cmsis-nn", type=Path, required=True, help="a checkout of CMSIS-NN")
    parser.add_argument(
        "--include", type=Path, action="append", default=[],
        help="headers of CMSIS-Core, which older versions need",
    )  # fmt: skip
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--target", default="cortex-m4", help="also the name of the core")
    parser.add_argument("--levels", nargs="+", default=list(LEVELS), help="the best one counts")
    parser.add_argument("--samples", type=int, default=2, help="evaluation inputs to run")
    parser.add_argument("--shared", type=Path, default=DEFAULT_SHARED, help="models and data")
    parser.add_argument("--steps", action="store_true", help="show every layer")
    return parser.parse_args(arguments)


def _measure(name: str, options: argparse.Namespace) -> Row:
    described = network(name)
    model = described.model(options.shared)
    inputs = described.samples(options.shared, "calibration")
    data = [
        {input_name(model): inputs.load(i)[None]} for i in range(min(CALIBRATION, inputs.count))
    ]
    evaluation = described.samples(options.shared, "evaluation")
    real = [evaluation.load(index)[None] for index in range(options.samples)]
    with tempfile.TemporaryDirectory(prefix="quantable-") as scratch:
        folder = Path(scratch)
        compile_model(model, folder, target=options.target, calibration=Calibration(data=data))
        graph = api.load(folder / "06-plan.qir")
        calls = driver(graph)
        samples = EmulatedModel(folder, processor=options.target).inputs[0].quantize(np.stack(real))
        theirs = Theirs(options.cmsis_nn, options.include, calls, options.target)
        found: list[Count] = []
        for level in options.levels:
            output, count = theirs.count(samples, level, is_profiled=options.steps)
            found.append(count)
        difference = _difference(graph, calls, input_name(model), real, output)
        own = [
            ours(folder, samples, level, options.target, is_profiled=options.steps)
            for level in options.levels
        ]
    row = Row(name, tuple(options.levels), tuple(found), tuple(own), difference)
    if options.steps:
        sys.stdout.write(steps_text(row) + "\n")
    return row


def _difference(
    graph: Graph, calls: Driver, feed: str, real: Sequence[Array], output: Array
) -> float:
    """Return the largest difference from the integer reference, in steps of a byte."""
    reference = ReferenceRuntime(graph)
    largest = 0.0
    for sample, found in zip(real, output, strict=True):
        exact = reference.run({feed: sample}, [calls.result])[calls.result]
        wanted = np.clip(exact.astype(np.float64) / calls.step + calls.zero_point, -128, 127)
        largest = max(largest, float(np.abs(wanted - found).max()))
    return largest


if __name__ == "__main__":
    sys.exit(main())
