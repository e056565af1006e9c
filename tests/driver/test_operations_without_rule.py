"""Every target on an operation that it has no rule for: float on the host, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from quantable.driver.compile import Calibration, compile_model
from quantable.ir import UnsupportedError
from quantable.targets.description import TARGETS, load_target

NETWORK = """<ir_version: 10, opset_import: ["": 21, "com.microsoft": 1]>
net (float[1, 8] x) => (float[1, 8] y) {
    h = MatMul(x, w)
    s = CumSum(h, axis)
    q = com.microsoft.SimplifiedLayerNormalization <axis = -1> (s, g)
    y = MatMul(q, v)
}"""
WITHOUT_RULE = {"CumSum", "com.microsoft.SimplifiedLayerNormalization"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    proto = onnx.parser.parse_model(NETWORK)
    held = {name: rng.standard_normal((8, 8)).astype(np.float32) for name in "wv"}
    held |= {"axis": np.array(1), "g": np.ones(8, np.float32)}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in held.items())
    path = tmp_path_factory.mktemp("model") / "net.onnx"
    onnx.save(proto, path)
    return path


@pytest.mark.parametrize("name", TARGETS)
def test_it_stays_float_and_is_listed_or_is_refused_by_name(
    name: str, model: Path, tmp_path: Path
) -> None:
    rows = np.random.default_rng(1).standard_normal((4, 1, 8)).astype(np.float32)
    calibration = Calibration(data=[{"x": row} for row in rows])
    if load_target(name).integer_only:
        with pytest.raises(UnsupportedError) as caught:
            compile_model(model, tmp_path, target=name, calibration=calibration)
        assert all(f"no rule for {kind}" in str(caught.value) for kind in WITHOUT_RULE)
        return
    made = compile_model(model, tmp_path, target=name, calibration=calibration)
    listed = {entry["kind"]: entry["reason"] for entry in made.facts["float_operations"]}
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    for kind in WITHOUT_RULE:
        assert f"no rule for {kind}" in listed[kind]
        assert f"no rule for {kind}" in page
