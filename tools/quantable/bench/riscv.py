"""Instructions on RISC-V of portable C and of ours: ``python -m quantable.bench.riscv``.

The MLPerf Tiny networks are compiled once; their plan is emitted with portable kernels and with
those of each core, and runs on the emulated core, which counts every instruction of an inference.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quantable.adapters.c_compiler import Array
from quantable.adapters.emulated import EmulatedModel, Sizes
from quantable.adapters.processors import PROCESSORS
from quantable.backends.c import emit
from quantable.bench.datasets import DEFAULT_SHARED, network
from quantable.bench.peers import input_name
from quantable.driver import api
from quantable.driver.compile import Calibration, compile_model
from quantable.ir import Graph, InternalError, UserError
from quantable.targets.kernel_sets import PORTABLE, RV32, RVV, KernelSet

NETWORKS = ("resnet8", "dscnn_kws", "mobilenetv1_vww", "fc_autoencoder")
TARGET = "riscv32"
"""All sets that are compared share its plan."""
CORES = ("rv32imac", "rv32imafc", "rv32imac-zve32x-128", "rv64gcv-128", "rv64gcv-256")
CALIBRATION = 128
HEAD = "| network | core | portable | ours | ratio | a product | code | stack |"


@dataclass(frozen=True, slots=True)
class Count:
    """Of one set of kernels: instructions of the dearest sample, stack, sizes, and outputs."""

    instructions: int
    stack: int
    sizes: Sizes
    outputs: tuple[bytes, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table; return 0 where ours take fewer instructions everywhere."""
    options = _parse(arguments)
    sys.stdout.write(f"{HEAD}\n|{' --- |' * HEAD.count(' | ')} --- |\n")
    is_better = True
    try:
        for name in options.networks:
            is_better &= _measure(name, options)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0 if is_better else 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m quantable.bench.riscv",
        description="Count the instructions of portable C and of ours on emulated RISC-V cores.",
        epilog="Example: python -m quantable.bench.riscv --cores rv32imac",
    )
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--cores", nargs="+", default=list(CORES), choices=_cores())
    parser.add_argument("--level", default="-O2", help="optimization")
    parser.add_argument("--samples", type=int, default=2, help="evaluation inputs to run")
    parser.add_argument("--shared", type=Path, default=DEFAULT_SHARED, help="models and data")
    return parser.parse_args(arguments)


def _cores() -> list[str]:
    return [name for name in PROCESSORS if name.startswith("rv")]


def _measure(name: str, options: argparse.Namespace) -> bool:
    """Print the rows of a network; return whether ours are better in all."""
    described = network(name)
    model = described.model(options.shared)
    inputs = described.samples(options.shared, "calibration")
    data = [
        {input_name(model): inputs.load(i)[None]} for i in range(min(CALIBRATION, inputs.count))
    ]
    evaluation = described.samples(options.shared, "evaluation")
    real = np.stack([evaluation.load(index)[None] for index in range(options.samples)])
    is_better = True
    with tempfile.TemporaryDirectory(prefix="quantable-") as scratch:
        compile_model(model, scratch, target=TARGET, calibration=Calibration(data=data))
        graph = api.load(Path(scratch) / "06-plan.qir")
        for core in options.cores:
            kernels = RVV if "v" in core.removeprefix("rv") else RV32
            portable, ours = (
                _count(graph, Path(scratch) / row.name, row, core, options.level, real)
                for row in (PORTABLE, kernels)
            )
            if portable.outputs != ours.outputs:
                raise InternalError(f"{name} on {core}: outputs differ between kernels")
            sys.stdout.write(_row(name, core, portable, ours, _products(graph, scratch)) + "\n")
            is_better &= ours.instructions < portable.instructions
    return is_better


def _count(
    graph: Graph, folder: Path, kernels: KernelSet, core: str, level: str, real: Array
) -> Count:
    emit(graph, folder, kernels=kernels)
    model = EmulatedModel(folder, flags=(level,), processor=core)
    run = model.run({model.inputs[0].value: model.inputs[0].quantize(real)})
    outputs = tuple(run.outputs[tensor.value].tobytes() for tensor in model.outputs)
    return Count(max(run.instructions), run.stack_bytes, model.sizes(), outputs)


def _products(graph: Graph, scratch: str) -> int:
    found = emit(graph, Path(scratch) / "products", kernels=PORTABLE)["macs"]
    assert isinstance(found, int)
    return found


def _row(name: str, core: str, portable: Count, ours: Count, products: int) -> str:
    cells = [
        name, core, f"{portable.instructions / 1e6:.2f} M", f"{ours.instructions / 1e6:.2f} M",
        f"{portable.instructions / ours.instructions:.1f}",
        f"{ours.instructions / products:.2f}",
        f"{portable.sizes.code} / {ours.sizes.code}", f"{portable.stack} / {ours.stack}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
