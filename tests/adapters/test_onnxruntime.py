"""The ONNX Runtime adapter."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from quantable.adapters.onnxruntime import OrtModel
from quantable.ir import DataError, ModelError, UserError


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """y = relu(x), z = -y."""
    ends = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 2]) for n in "xyz"}
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["y"], ["z"])]
    graph = helper.make_graph(nodes, "g", [ends["x"]], [ends["y"], ends["z"]])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.save(proto, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.mark.parametrize("optimize", [False, True])
def test_runs_by_name(model: Path, optimize: bool) -> None:
    loaded = OrtModel(model, optimize=optimize, threads=2)
    assert (loaded.inputs, loaded.outputs) == (("x",), ("y", "z"))
    x = np.array([[-1, 2]], np.float32)
    found = loaded.run({"x": x})
    np.testing.assert_array_equal(found["y"], [[0, 2]])
    np.testing.assert_array_equal(found["z"], [[0, -2]])
    assert list(loaded.run({"x": x}, ["z"])) == ["z"]


def test_arrays_need_not_be_contiguous(model: Path) -> None:
    x = np.arange(8, dtype=np.float32).reshape(2, 4)[:, ::2]
    np.testing.assert_array_equal(OrtModel(model).run({"x": x})["y"], x)


def test_inputs_of_other_names_are_refused(model: Path) -> None:
    with pytest.raises(DataError, match="expected inputs x, found image"):
        OrtModel(model).run({"image": np.zeros((1, 2), np.float32)})


def test_inputs_of_another_shape_are_refused(model: Path) -> None:
    with pytest.raises(DataError, match=r"model\.onnx"):
        OrtModel(model).run({"x": np.zeros((1, 3), np.float32)})


def test_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"foreign\.onnx.*cannot load"):
        OrtModel(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent\.onnx"):
        OrtModel(tmp_path / "absent.onnx")


def test_missing_package_names_the_extra(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install 'quantable\[ort\]'"):
        OrtModel(model)


def test_a_scalar_stays_a_scalar(tmp_path: Path) -> None:
    ends = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, []) for n in "xy"}
    graph = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["y"])], "g", [ends["x"]], [ends["y"]]
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.save(proto, tmp_path / "scalar.onnx")
    assert OrtModel(tmp_path / "scalar.onnx").run({"x": np.float32(2)})["y"] == -2
