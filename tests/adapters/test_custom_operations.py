"""User operations in ONNX Runtime, by a library of custom operations that nobody here wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantable.driver.compile import Calibration, compile_model
from quantable.driver.operations import library_of
from quantable.driver.validate import validate
from quantable.ir.user_operations import SAME, QuantizationRule, Table, UserOperation

DOMAIN = "ai.onnx.contrib"
"""The domain of operations in Python that onnxruntime-extensions runs."""


def semantics(x, *, b):
    import torch

    return (x + torch.sqrt(x * x + b)) / 2


SQUAREPLUS = UserOperation(
    DOMAIN, "QuantableSquareplus", ("x",), ("y",), SAME, semantics, attributes={"b": 4.0},
    rule=QuantizationRule(), integer=Table(),
)  # fmt: skip


def _library() -> str:
    """Define the operation for ONNX Runtime, in NumPy; return the library that runs it."""
    extensions = pytest.importorskip(
        "onnxruntime_extensions", reason="onnxruntime-extensions runs operations in Python"
    )
    kind = extensions.PyCustomOpDef.dt_float

    @extensions.onnx_op(
        op_type="QuantableSquareplus", inputs=[kind], outputs=[kind], attrs={"b": kind}
    )
    def squareplus(x: np.ndarray, **attributes: float) -> np.ndarray:
        root = np.sqrt(x * x + np.float32(attributes["b"]))
        return ((x + root) / np.float32(2)).astype(np.float32)

    return str(extensions.get_library_path())


def test_a_library_of_custom_operations_runs_user_operations(tmp_path: Path) -> None:
    kernels = _library()
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "v"], ["c"], name="c", pads=[2, 2]),
        helper.make_node("QuantableSquareplus", ["c"], ["q"], name="q", domain=DOMAIN, b=2.0),
        helper.make_node("Conv", ["q", "w"], ["y"], name="d", pads=[1, 1]),
    ]
    weights = {"v": rng.normal(size=(8, 2, 5)) * 0.4, "w": rng.normal(size=(8, 8, 3)) * 0.2}
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array.astype("f"), name) for name, array in weights.items()],
    )  # fmt: skip
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    model = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), model)
    data = rng.normal(size=(8, 2, 32)).astype(np.float32)
    library = library_of([SQUAREPLUS])
    build = tmp_path / "build"
    compile_model(
        model, build, target="onnxruntime", calibration=Calibration(data), operations=library
    )
    claims = validate(build, data, operations=library, custom_ops=[kernels])
    assert all(claim.held for claim in claims), claims
    assert "of 2048 elements differ" in claims[-1].found
