"""Random models with quantizers: in, out again, and the same results everywhere."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantable.adapters.onnxruntime import OrtModel
from quantable.driver import api
from quantable.reference import ReferenceRuntime
from tests.passes.quantize.random_quantized import inputs, models

QUIET = settings(deadline=None, database=None, derandomize=True,
                 suppress_health_check=list(HealthCheck))  # fmt: skip


def _check(model: onnx.ModelProto, seed: int, folder: Path) -> None:
    path, fed = folder / "model.onnx", inputs(seed)
    onnx.save(model, path)
    imported = api.import_model(path)
    expected = ReferenceRuntime(imported).run(fed)
    theirs = OrtModel(path).run(fed)
    for name, array in expected.items():
        np.testing.assert_array_equal(array, theirs[name], strict=True)
    for passes in ("adopt-quantizers", "canonicalize,adopt-quantizers"):
        made = api.optimize(imported, passes, target="onnxruntime")
        found = ReferenceRuntime(made).run(fed)
        api.emit(made, folder / "out")
        again = OrtModel(folder / "out" / "model.onnx").run(fed)
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array, strict=True)
            np.testing.assert_array_equal(again[name], array, strict=True)
        _check_second_trip(folder / "out" / "model.onnx", folder)


def _check_second_trip(path: Path, folder: Path) -> None:
    """What was written is read and written again to the same bytes."""
    graph = api.optimize(api.import_model(path), "adopt-quantizers", target="onnxruntime")
    api.emit(graph, folder / "second")
    assert (folder / "second" / "model.onnx").read_bytes() == path.read_bytes()


@settings(QUIET, max_examples=12)
@given(models(), st.integers(0, 99))
def test_results_and_bytes_stay(model: onnx.ModelProto, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _check(model, seed, Path(folder))


@pytest.mark.fuzz
@settings(QUIET, max_examples=400)
@given(models(), st.integers(0, 99))
def test_results_and_bytes_stay_in_many_models(model: onnx.ModelProto, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _check(model, seed, Path(folder))


_DEAD = """<ir_version: 10, opset_import: ["": 21]>
random (float[2,4] x) => (float[2,4] y)
<float s = {1}, uint8 z = {1}, uint8 other = {0}, int64[2] away = {4, 2}, int64[2] back = {2, 4}> {
    a = Reshape (x, away)
    b = Reshape (a, back)
    bq = QuantizeLinear (b, s, z)
    bd = DequantizeLinear (bq, s, z)
    y = Relu (bd)
    deadq = QuantizeLinear (b, s, other)
    deadd = DequantizeLinear (deadq, s, other)
}"""


def test_a_quantizer_that_leads_nowhere_does_not_say_where_a_row_lies(tmp_path: Path) -> None:
    """Read back without it, the row went in front of the Reshape, and other bytes were written."""
    _check(onnx.parser.parse_model(_DEAD), 0, tmp_path)


_OPSETS = """<ir_version: 8, opset_import: ["": {opset}]>
g (float[1,2,3,3] x) => (float[1,2,3,3] y)
<float s = {{0.5}}, uint8 z = {{128}}, int8[2,2,1,1] w = {{1, -2, 3, 127}}, float ws = {{0.25}},
 int8 wz = {{0}}, float t = {{2}}, int8 v = {{-3}}> {{
    xq = QuantizeLinear (x, s, z)
    xd = DequantizeLinear (xq, s, z)
    wd = DequantizeLinear (w, ws, wz)
    c = Conv (xd, wd)
    cq = QuantizeLinear (c, t, v)
    y = DequantizeLinear (cq, t, v)
}}"""


@pytest.mark.parametrize("opset", [10, 11, 13, 17, 19, 20, 21, 22, 23])
def test_every_opset_with_quantizers(opset: int, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(_OPSETS.format(opset=opset)), path)
    made = api.quantize(api.canonicalize(api.import_model(path)), "onnxruntime")
    assert [op.kind for op in made.operations] == ["Conv"]
    api.emit(made, tmp_path / "out")
    x = np.random.default_rng(4).normal(0, 30, (1, 2, 3, 3)).astype(np.float32)
    expected = OrtModel(path).run({"x": x})["y"]
    np.testing.assert_array_equal(ReferenceRuntime(made).run({"x": x})["y"], expected)
    again = OrtModel(tmp_path / "out" / "model.onnx").run({"x": x})["y"]
    np.testing.assert_array_equal(again, expected)
