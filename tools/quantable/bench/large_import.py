"""Memory of importing a large network: ``python -m quantable.bench.large_import``.

Builds a network of matrix products with seeded weights in an external data file, imports it through
the command line in a fresh process, then saves a stage that changes no weight, and prints the peak
resident memory relative to the network's size and the bytes that each step wrote.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

SIDE = 4096
LAYER_BYTES = SIDE * SIDE * 4
MEMORY_LIMIT = 1.3
"""Peak memory relative to the size of the network."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print JSON, and return 0 where both bars hold."""
    parser = argparse.ArgumentParser(
        prog="python -m quantable.bench.large_import",
        description="Measure the memory of importing a large network.",
        epilog="Example: python -m quantable.bench.large_import --gigabytes 2.5",
    )
    parser.add_argument("--gigabytes", type=float, default=2.5, help="10**9 bytes of weights")
    parser.add_argument("--folder", type=Path, help="where to work, by default a temporary folder")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        facts = measure(Path(scratch), round(options.gigabytes * 1e9 / LAYER_BYTES))
    sys.stdout.write(json.dumps(facts, indent=2) + "\n")
    return 0 if facts["holds"] else 1


def measure(folder: Path, layers: int) -> dict[str, object]:
    """Build, import and save a network of `layers` weights of 64 MiB."""
    model = build(folder / "source", layers)
    size = layers * LAYER_BYTES
    stages = folder / "stages"
    stages.mkdir()
    first, second = stages / "00-import.qir", stages / "01-opt.qir"
    import_mb, import_bytes = _run(stages, "import", str(model), "-o", str(first))
    opt = ["opt", str(first), "--passes", "eliminate-dead-code", "-o", str(second)]
    opt_mb, opt_bytes = _run(stages, *opt)
    relative = import_mb * 2**20 / size
    return {
        "network_bytes": size,
        "import_peak_mb": round(import_mb),
        "import_peak_relative": round(relative, 3),
        "import_bytes_written": import_bytes,
        "stage_peak_mb": round(opt_mb),
        "stage_bytes_written": opt_bytes,
        "holds": relative < MEMORY_LIMIT and opt_bytes < LAYER_BYTES // 16,
    }


def build(folder: Path, layers: int) -> Path:
    """Write ``large.onnx`` with its weights in ``large.data``; return its path.

    The weights come from one counter-based generator (Philox) a layer, so that no two are equal.
    """
    folder.mkdir(parents=True)
    nodes, weights = [], []
    with (folder / "large.data").open("wb") as file:
        for layer in range(layers):
            generator = np.random.Generator(np.random.Philox(key=layer))
            file.write(generator.standard_normal((SIDE, SIDE), np.float32).tobytes())
            weights.append(_external(f"weight.{layer}", layer * LAYER_BYTES))
            names = [f"x.{layer}", f"weight.{layer}"]
            nodes.append(helper.make_node("MatMul", names, [f"x.{layer + 1}"], f"layer.{layer}"))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", SIDE])
        for name in ("x.0", f"x.{layers}")
    ]
    graph = helper.make_graph(nodes, "large", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, folder / "large.onnx")
    return folder / "large.onnx"


def _external(name: str, offset: int) -> onnx.TensorProto:
    proto = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[SIDE, SIDE])
    proto.data_location = TensorProto.EXTERNAL
    entries = {"location": "large.data", "offset": offset, "length": LAYER_BYTES}
    for key, value in entries.items():
        proto.external_data.append(onnx.StringStringEntryProto(key=key, value=str(value)))
    return proto


def _run(folder: Path, *arguments: str) -> tuple[float, int]:
    """Run one command in a fresh process; return its peak memory in MiB and the bytes it wrote."""
    before = _files(folder)
    code = "import sys; from quantable.cli.main import main; sys.exit(main())"
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"quantable {' '.join(arguments)}: exit code {process.returncode}")
    written = sum(size for key, size in _files(folder).items() if key not in before)
    return usage.ru_maxrss / 1024, written


def _files(folder: Path) -> dict[tuple[str, int, int], int]:
    """Return the size of every file, by name, inode and time of change."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            stat = path.stat()
            found[str(path), stat.st_ino, stat.st_mtime_ns] = stat.st_size
    return found


if __name__ == "__main__":
    sys.exit(main())
