"""Models that bring their quantization along, through all stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from quantable.adapters.onnxruntime import OrtModel
from quantable.driver import api
from quantable.driver.compile import Calibration, Compilation, compile_model
from quantable.driver.validate import validate
from quantable.ir import DType, Level, OptionError, UnsupportedError
from quantable.reference import ReferenceRuntime

_TEXT = """<ir_version: 10, opset_import: ["": 21]>
g (float[1,2,4,4] x) => (float[1,3] y)
<float s = {0.0625}, uint8 z = {128}, float cs = {0.125}, uint8 cz = {0}, float ys = {0.5},
 float[2] ws = {0.25, 0.125}, int8[2] wz = {0, 0}, int8[2,2,1,1] w = {1, -2, 3, 127},
 int32[2] b = {70, -5}, float[2] bs = {0.015625, 0.0078125}, int64[2] shape = {1, 8},
 float vs = {0.03125}, int8 vz = {0},
 int8[3,8] v = {1,2,3,4,5,6,7,8,-1,-2,-3,-4,-5,-6,-7,-8,9,8,7,6,5,4,3,2}> {
    xq = QuantizeLinear (x, s, z)
    xd = DequantizeLinear (xq, s, z)
    wd = DequantizeLinear <axis = 0> (w, ws, wz)
    bd = DequantizeLinear <axis = 0> (b, bs)
    [conv] c = Conv (xd, wd, bd)
    [relu] r = Relu (c)
    rq = QuantizeLinear (r, cs, cz)
    rd = DequantizeLinear (rq, cs, cz)
    [pool] p = MaxPool <kernel_shape = [2,2], strides = [2,2]> (rd)
    pq = QuantizeLinear (p, cs, cz)
    pd = DequantizeLinear (pq, cs, cz)
    [flat] f = Reshape (pd, shape)
    vd = DequantizeLinear (v, vs, vz)
    [dense] d = Gemm <transB = 1> (f, vd)
    dq = QuantizeLinear (d, ys, z)
    y = DequantizeLinear (dq, ys, z)
}"""
_WEIGHTS = """<ir_version: 10, opset_import: ["": 21]>
g (float[2,4] x) => (float[2,3] y)
<int8[3,4] w = {1,2,3,4,5,6,7,8,9,10,11,12}, float[3] s = {0.5, 0.25, 1}, int8[3] z = {0, 1, 0}> {
    d = DequantizeLinear <axis = 0> (w, s, z)
    [dense] y = Gemm <transB = 1> (x, d)
}"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return _saved(_TEXT, tmp_path)


def _saved(text: str, folder: Path) -> Path:
    path = folder / "model.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    return path


def _samples(count: int = 4) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 4, (count, 2, 4, 4)).astype(np.float32)


@pytest.mark.parametrize("target", ["onnxruntime", "c-portable"])
def test_no_calibration_is_needed(target: str, model: Path, tmp_path: Path) -> None:
    done = compile_model(model, tmp_path / "out", target=target)
    assert done.profile is None
    assert [name for name, _ in done.graphs][:4] == [
        "00-import.qir", "01-opt.qir", "02-quantize.qir", "04-opt.qir",
    ]  # fmt: skip
    assert done.facts["calibration"] is None
    assert "| quantized by | the model itself |" in (tmp_path / "out/report.md").read_text()
    assert not (tmp_path / "out/calibration.qprof").exists()
    quantized = dict(done.graphs)["02-quantize.qir"]
    assert sorted(entry.content.dtype.value for op in quantized.quantable_operations
                  for entry in op.baked) == ["i32", "i8", "i8"]  # fmt: skip
    claims = validate(tmp_path / "out", {"x": _samples()})
    assert [claim.name for claim in claims if not claim.held] == []
    refined = dict(done.graphs)["04-opt.qir"]
    assert refined.operations == quantized.operations  # nothing is left to refine
    assert refined.rows == quantized.rows


def test_the_file_gives_what_the_model_gives(model: Path, tmp_path: Path) -> None:
    compile_model(model, tmp_path / "out", target="onnxruntime")
    for optimize in (False, True):
        before = OrtModel(model, optimize=optimize)
        after = OrtModel(tmp_path / "out/model.onnx", optimize=optimize)
        for sample in _samples():
            np.testing.assert_array_equal(
                after.run({"x": sample[None]})["y"], before.run({"x": sample[None]})["y"]
            )


def test_stage_by_stage_is_one_shot(model: Path, tmp_path: Path) -> None:
    done = compile_model(model, tmp_path / "out", target="c-portable")
    graph = api.canonicalize(api.import_model(model))
    graph = api.lower(api.refine(api.quantize(graph, "c-portable")))
    api.save(graph, tmp_path / "05.qir")
    assert (tmp_path / "05.qir").read_bytes() == (tmp_path / "out/05-lower.qir").read_bytes()
    assert done.graphs[-1][1].level is Level.PLANNED


@pytest.mark.parametrize("target", ["onnxruntime", "c-portable"])
def test_calibration_is_not_used_and_that_is_said(target: str, model: Path, tmp_path: Path) -> None:
    said: list[tuple[str, str, str]] = []
    done = compile_model(
        model, tmp_path / "out", target=target, calibration=Calibration(_samples()),
        warn=said.extend,
    )  # fmt: skip
    assert done.profile is None
    assert "calibration is not used" in said[0][2]


def test_it_is_quantized_anew_where_that_is_asked_for(model: Path, tmp_path: Path) -> None:
    done: Compilation = compile_model(
        model, tmp_path / "out", target="c-portable", calibration=Calibration(_samples()),
        requantize=True,
    )  # fmt: skip
    assert done.profile is not None
    graphs = dict(done.graphs)
    kinds = {op.kind for op in graphs["01-opt.qir"].operations}
    assert kinds == {"Conv", "Relu", "MaxPool", "Reshape", "quantable.Linear"}
    imported = ReferenceRuntime(api.import_model(model))
    weights = imported.run({"x": _samples(1)}, ["wd", "bd"])
    held = graphs["01-opt.qir"]
    conv = held.operation_by_name["conv"]
    np.testing.assert_array_equal(held.array(conv.inputs[1]), weights["wd"])
    np.testing.assert_array_equal(held.array(conv.inputs[2]), weights["bd"])


def test_a_quantable_graph_becomes_a_float_one_again(model: Path) -> None:
    graph = api.quantize(api.canonicalize(api.import_model(model)), "onnxruntime")
    plain = api.optimize(graph, "discard-quantizers")
    assert (plain.level, plain.target, dict(plain.rows)) == (Level.FLOAT, "", {})
    fed = {"x": _samples(1)}
    expected = ReferenceRuntime(graph.dequantized()).run(fed)["y"]
    np.testing.assert_array_equal(ReferenceRuntime(plain).run(fed)["y"], expected)


def test_integer_weights_are_kept_where_there_is_nothing_to_calibrate_with(tmp_path: Path) -> None:
    path = _saved(_WEIGHTS, tmp_path)
    done = compile_model(path, tmp_path / "out", target="onnxruntime")
    (op,) = dict(done.graphs)["04-opt.qir"].quantable_operations
    assert op.kind == "quantable.Linear"
    assert op.baked[0].content.dtype is DType.INT8
    fed = {"x": np.arange(8, dtype=np.float32).reshape(2, 4)}
    np.testing.assert_array_equal(
        OrtModel(tmp_path / "out/model.onnx").run(fed)["y"], OrtModel(path).run(fed)["y"]
    )


def test_integer_weights_with_calibration_are_a_float_network(tmp_path: Path) -> None:
    path = _saved(_WEIGHTS, tmp_path)
    data = np.random.default_rng(2).normal(0, 1, (4, 2, 4)).astype(np.float32)
    done = compile_model(
        path, tmp_path / "out", target="onnxruntime", calibration=Calibration(list(data))
    )
    assert done.profile is not None


def test_an_integer_target_says_what_integer_weights_alone_lack(tmp_path: Path) -> None:
    path = _saved(_WEIGHTS, tmp_path)
    with pytest.raises(UnsupportedError) as caught:
        compile_model(path, tmp_path / "out", target="c-portable")
    assert "in0: the model does not quantize 'x'" in caught.value.message
    assert "out0: the model does not quantize 'y'" in caught.value.message
    assert "compile --calibration DATA" in caught.value.help
    assert not (tmp_path / "out").exists()


def test_a_float_model_needs_calibration(tmp_path: Path) -> None:
    path = _saved(
        '<ir_version: 10, opset_import: ["": 21]> g (float[2] x) => (float[2] y) { y = Relu (x) }',
        tmp_path,
    )
    with pytest.raises(OptionError, match="expected calibration data or a profile"):
        compile_model(path, tmp_path / "out", target="onnxruntime")
