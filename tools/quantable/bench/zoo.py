"""The networks that a script builds for benchmarks of speed: random weights, static shapes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import numpy_helper


def zoo_models(zoo: Path, folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """Return the files of networks by name.

    Args:
        zoo: The script that builds them, or a folder that holds them.
        folder: Where to build them.
        names: Which ones.
    """
    if zoo.is_file():
        subprocess.run(
            [sys.executable, "-W", "ignore", str(zoo), str(folder), "--only", ",".join(names)],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        zoo = folder
    return {name: zoo / f"{name}.onnx" for name in names}


def rebatched(model: Path, out: Path, batch: int) -> Path:
    """Write a network of one sample for a batch of them, and return the file.

    A Reshape to [1, ...] becomes one that copies its first dimension.
    """
    proto = onnx.load(model)
    graph = proto.graph
    weights = {item.name: item for item in graph.initializer}
    for item in (*graph.input, *graph.output):
        if item.name not in weights:
            item.type.tensor_type.shape.dim[0].dim_value = batch
    del graph.value_info[:]
    constants = {node.output[0]: node.attribute[0].t for node in graph.node
                 if node.op_type == "Constant" and node.attribute[0].name == "value"}  # fmt: skip
    for node in graph.node:
        held = {**weights, **constants}.get(node.input[1]) if node.op_type == "Reshape" else None
        shape = None if held is None else numpy_helper.to_array(held).copy()
        if held is not None and shape is not None and shape.size > 1 and shape[0] == 1:
            shape[0] = 0
            held.CopyFrom(numpy_helper.from_array(shape, held.name))
    onnx.save(proto, out)
    return out
