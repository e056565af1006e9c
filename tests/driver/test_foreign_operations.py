"""A network as ONNX Runtime's optimizer writes it, imported, quantized around, emitted and run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from quantable.driver import api
from quantable.driver.compile import Calibration, compile_model
from quantable.driver.validate import validate
from quantable.frontend import import_model
from quantable.reference import ReferenceRuntime

WIDTH = 16


def _node(kind: str, inputs: str, output: str, domain: str = "com.microsoft", **more: Any) -> Any:
    names = inputs.split()
    return helper.make_node(kind, names, [output], output, domain=domain, **more)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A convolution, an encoder layer of a transformer, a symbolic batch; no domain is imported."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray[Any, Any]:
        return np.asarray(rng.standard_normal(shape) / np.sqrt(shape[0]), np.float32)

    held = {
        "cw": normal(8, 1, 3, 3), "cb": normal(8), "row": np.array([0, -1, WIDTH]),
        "w": normal(WIDTH, 3 * WIDTH), "b": normal(3 * WIDTH), "g": 1 + 0.1 * normal(WIDTH),
        "be": normal(WIDTH), "w1": normal(WIDTH, 4 * WIDTH), "b1": normal(4 * WIDTH),
        "w2": normal(4 * WIDTH, WIDTH),
    }  # fmt: skip
    nodes = [
        _node("FusedConv", "x cw cb", "c", activation="Relu", pads=[1] * 4),
        _node("Reshape", "c row", "r", ""), _node("Attention", "r w b", "a", num_heads=4),
        _node("SkipLayerNormalization", "r a g be", "s"), _node("MatMul", "s w1", "m", ""),
        _node("BiasGelu", "m b1", "h"), _node("MatMul", "h w2", "n", ""),
        _node("SimplifiedLayerNormalization", "n g", "y", "", axis=-1),
    ]  # fmt: skip
    batch = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 1, 8, 8])
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    constants = [numpy_helper.from_array(value, name) for name, value in held.items()]
    graph = helper.make_graph(nodes, "g", [batch], [output], constants)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.save(proto, tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def test_it_is_imported_with_its_shapes_and_runs_on_any_batch(model: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    graph = import_model(model)
    assert graph.values["s"].shape == ("batch", 32, WIDTH)
    proto = onnx.load(model)
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    for batch in (1, 3):
        x = np.random.default_rng(batch).standard_normal((batch, 1, 8, 8)).astype(np.float32)
        (expected,) = session.run(None, {"x": x})
        found = ReferenceRuntime(graph).run({"x": x})["y"]
        np.testing.assert_allclose(found, expected, 1e-4, 1e-5)


def test_it_is_quantized_emitted_and_equal_in_onnx_runtime(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((8, 1, 8, 8)).astype(np.float32)
    calibration = Calibration(data=[{"x": row[None]} for row in rows])
    made = compile_model(model, tmp_path / "build", target="onnxruntime", calibration=calibration)
    reasons = {entry["kind"]: entry["reason"] for entry in made.facts["float_operations"]}
    assert "no rule" in reasons["com.microsoft.SimplifiedLayerNormalization"]
    # What the standard says as well is quantized as such: the attention, the convolution.
    assert not {"com.microsoft.Attention", "com.microsoft.FusedConv", "MatMul"} & set(reasons)
    np.savez(tmp_path / "test.npz", x=rows)
    claims = validate(tmp_path / "build", tmp_path / "test.npz", api.Preprocessing(), samples=4)
    assert claims
    assert [claim for claim in claims if not claim.held] == []
