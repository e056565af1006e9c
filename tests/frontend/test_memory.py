"""A network of 2.5 GB is imported without a second copy of its weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

SIDE = 8192
COUNT = 10
SIZE = SIDE * SIDE * 4
_IMPORT = """
import resource, sys
from quantable.frontend import import_model
graph = import_model(sys.argv[1])
assert len(graph.parameters) == int(sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
def test_external_data_is_not_copied(tmp_path: Path) -> None:
    nodes, tensors = [], []
    for index in range(COUNT):
        tensor = TensorProto(name=f"w{index}", data_type=TensorProto.FLOAT, dims=[SIDE, SIDE])
        tensor.data_location = TensorProto.EXTERNAL
        entries = {"location": "weights.bin", "offset": str(index * SIZE), "length": str(SIZE)}
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)
        tensors.append(tensor)
        nodes.append(helper.make_node("MatMul", [f"x{index}", f"w{index}"], [f"x{index + 1}"]))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", SIDE])
        for name in ("x0", f"x{COUNT}")
    ]
    graph = helper.make_graph(nodes, "large", ends[:1], ends[1:], tensors)
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset]), tmp_path / "large.onnx")
    with (tmp_path / "weights.bin").open("wb") as file:
        file.truncate(COUNT * SIZE)  # sparse: the zeros take no room on the disk
    command = [sys.executable, "-c", _IMPORT, str(tmp_path / "large.onnx"), str(COUNT)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(run.stdout) < 1.3 * COUNT * SIZE
