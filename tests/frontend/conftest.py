"""Models for the frontend's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


def _model(
    nodes: list[onnx.NodeProto],
    initializers: dict[str, np.ndarray],
    opset: int,
    shape: tuple[int | str | None, ...],
) -> onnx.ModelProto:
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)], outputs,
        [numpy_helper.from_array(value, name) for name, value in initializers.items()],
    )  # fmt: skip
    ir_version = helper.find_min_ir_version_for([helper.make_opsetid("", opset)], True)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=min(ir_version, 10)
    )


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Save a model of one input x and one output y, and return its path."""

    def write(
        nodes: list[onnx.NodeProto],
        initializers: dict[str, np.ndarray] | None = None,
        *,
        opset: int = 21,
        shape: tuple[int | str | None, ...] = ("N", 4),
        name: str = "model.onnx",
    ) -> Path:
        path = tmp_path / name
        onnx.save(_model(nodes, initializers or {}, opset, shape), path)
        return path

    return write
