"""Models that leave some tensors real, through all stages to C, by calibration data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from quantable.driver import api
from quantable.driver.compile import Calibration, compile_model
from quantable.driver.validate import validate
from quantable.ir import QuantableOperation, UnsupportedError
from quantable.passes.quantize.adopted_rows import is_adopted

Remarks = list[tuple[str, str, str]]
_TEXT = """<ir_version: 10, opset_import: ["": 21]>
g (float[1,2,4,4] x) => (float[1,3] y)
<float s = {0.0625}, uint8 z = {128}, float ws = {0.25}, int8[2,2,1,1] w = {1, -2, 3, 127},
 float[2] b = {1, -2}, int64[2] shape = {1, 32}, float[32,3] v> {
    xq = QuantizeLinear (x, s, z)
    xd = DequantizeLinear (xq, s, z)
    wd = DequantizeLinear (w, ws)
    [conv] c = Conv (xd, wd, b)
    [relu] r = Relu (c)
    [sum] t = Add (r, xd)
    [flat] f = Reshape (t, shape)
    [dense] y = MatMul (f, v)
}"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    proto = onnx.parser.parse_model(_TEXT)
    weights = np.random.default_rng(5).normal(0, 1, (32, 3)).astype(np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weights, "v"))
    onnx.save(proto, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def _samples(count: int = 8) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 4, (count, 2, 4, 4)).astype(np.float32)


def test_what_a_model_leaves_real_is_calibrated(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="does not quantize 't'"):
        compile_model(model, tmp_path / "out", target="c-portable")
    done = compile_model(
        model, tmp_path / "out", target="c-portable", calibration=Calibration(_samples())
    )
    graph = dict(done.graphs)["04-opt.qir"]
    conv = graph.operation_by_name["conv"]
    assert isinstance(conv, QuantableOperation)
    weight = conv.baked_parameter(1)
    assert weight is not None
    assert graph.store.get(weight.content).reshape(-1).tolist() == [1, -2, 3, 127]
    kept = {row.id: row.scale for row in graph.rows.values() if is_adopted(row)}
    assert kept == {"conv.in0": (0.0625,), "conv.in1": (0.25,)}
    said = [
        f"{place.split()[1]} {text}" for name, place, text in done.facts["remarks"]
        if name == "complete-quantizers"
    ]  # fmt: skip
    assert said == [
        "'relu' the model does not quantize 'r'", "'sum' the model does not quantize 't'",
        "'dense' the model does not quantize 'v'", "'dense' the model does not quantize 'y'",
    ]  # fmt: skip
    assert done.facts["calibration"]["samples"] == 8
    claims = validate(tmp_path / "out", {"x": _samples()})
    assert [claim.name for claim in claims if not claim.held] == []


def test_stage_by_stage_is_one_shot(model: Path, tmp_path: Path) -> None:
    compile_model(model, tmp_path / "out", target="c-portable", calibration=Calibration(_samples()))
    canonical = api.canonicalize(api.import_model(model))
    profile = api.observe(canonical, _samples())
    graph = api.calibrate(api.quantize(canonical, "c-portable", complete=True), profile)
    api.save(api.lower(api.refine(graph)), tmp_path / "05.qir")
    assert (tmp_path / "05.qir").read_bytes() == (tmp_path / "out/05-lower.qir").read_bytes()


def test_a_target_that_leaves_them_real_uses_no_calibration(model: Path, tmp_path: Path) -> None:
    said: Remarks = []
    done = compile_model(
        model, tmp_path / "out", target="onnxruntime", calibration=Calibration(_samples()),
        warn=said.extend,
    )  # fmt: skip
    assert done.profile is None
    assert "calibration is not used" in said[0][2]


_BY_CHANNEL = """<ir_version: 10, opset_import: ["": 21]>
g (float[1,2,4,4] x) => (float[1,2,4,4] y)
<float s = {0.0625}, uint8 z = {128}, float[2,2,1,1] w = {0.5, -0.25, 2, 1}, float[2] b = {1, -2},
 float[2] cs = {0.03125, 0.0625}, uint8[2] cz = {0, 0}, float vs = {0.25}, int8[2,1,1,1] v = {5, 6},
 float six = {6}, float none = {0}> {
    xq = QuantizeLinear (x, s, z)
    xd = DequantizeLinear (xq, s, z)
    [conv] c = Conv (xd, w, b)
    [clip] r = Clip (c, none, six)
    rq = QuantizeLinear <axis = 1> (r, cs, cz)
    rd = DequantizeLinear <axis = 1> (rq, cs, cz)
    vd = DequantizeLinear (v, vs)
    [depthwise] y = Conv <group = 2> (rd, vd)
}"""


def test_scales_of_channels_go_into_the_weights(tmp_path: Path) -> None:
    """NNCF quantizes the inputs of depthwise convolutions by channel."""
    # 6 is 192 steps of the first channel: that Clip is no Relu for the quantizer.
    onnx.save(onnx.parser.parse_model(_BY_CHANNEL), tmp_path / "bounded.onnx")
    calibration = Calibration(_samples())
    with pytest.raises(UnsupportedError, match="quantizes 'r' by channel") as caught:
        compile_model(
            tmp_path / "bounded.onnx", tmp_path / "out", target="c-portable",
            calibration=calibration,
        )  # fmt: skip
    assert "fold-channel-scales" in caught.value.help
    text = _BY_CHANNEL.replace("six = {6}", "six = {16}")
    onnx.save(onnx.parser.parse_model(text), tmp_path / "model.onnx")
    done = compile_model(
        tmp_path / "model.onnx", tmp_path / "out", target="c-portable", calibration=calibration
    )
    graph = dict(done.graphs)["04-opt.qir"]
    rows = {row.scale for row in graph.rows.values() if is_adopted(row)}
    assert rows == {(0.0625,), (0.125, 0.25)}  # powers of two: nothing is rounded
    claims = validate(tmp_path / "out", {"x": _samples()})
    assert [claim.name for claim in claims if not claim.held] == []
    network = api.quantize_network(tmp_path / "model.onnx", _samples(), "c-portable")
    assert network.rows == graph.rows
