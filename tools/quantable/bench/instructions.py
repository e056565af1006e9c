"""How many instructions every step of emitted code takes, under a user-mode emulator of QEMU.

    python -m quantable.bench.instructions BUILD --compiler aarch64-linux-gnu-gcc \
        --flags '-O2 -march=armv8.2-a+dotprod' --runner 'qemu-aarch64 -cpu max'

BUILD is a folder that `quantable compile` or `emit` made. Counts do not depend on the values of the
inputs, but where a table or a loop does; they are drawn with a fixed seed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from quantable.adapters.c_compiler import Array
from quantable.adapters.c_counts import count_instructions
from quantable.adapters.c_program import ProgramModel
from quantable.ir import QuantableError


def main() -> int:
    """Print a table of the steps; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("build", type=Path)
    parser.add_argument("--compiler", default="aarch64-linux-gnu-gcc")
    parser.add_argument("--flags", default="-O2 -march=armv8.2-a+dotprod")
    parser.add_argument("--runner", default="qemu-aarch64 -cpu max")
    parser.add_argument("--nm", default="aarch64-linux-gnu-nm")
    given = parser.parse_args()
    try:
        model = ProgramModel(
            given.build, compiler=given.compiler, flags=given.flags.split(),
            runner=given.runner.split(),
        )  # fmt: skip
        counts = count_instructions(model, _inputs(model), nm=given.nm)
    except QuantableError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("\n".join(table(model.manifest, counts)) + "\n")
    return 0


def _inputs(model: ProgramModel) -> dict[str, Array]:
    random, found = np.random.default_rng(1), {}
    for tensor in model.inputs:
        low, high = tensor.clamp_min, tensor.clamp_max
        found[tensor.value] = random.integers(low, high, tensor.shape, endpoint=True).astype(
            tensor.dtype
        )
    return found


def table(manifest: Mapping[str, object], counts: Mapping[int, int]) -> list[str]:
    """Return lines of Markdown: every step, its products, and its instructions."""
    layers = manifest["layers"]
    assert isinstance(layers, list)
    lines = [
        "| step | kind | output | products | instructions | each |",
        "|---|---|---|---|---|---|",
    ]
    for layer in layers:
        count, macs = counts.get(layer["step"], 0), layer["macs"]
        shape = " x ".join(map(str, layer["outputs"][0]["shape"]))
        each = f"{count / macs:.4f}" if macs else ""
        lines.append(f"| {layer['step']} | {layer['kind']} | {shape} | {macs} | {count} | {each} |")
    lines.append(f"| all | | | {manifest['macs']} | {sum(counts.values())} | |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
