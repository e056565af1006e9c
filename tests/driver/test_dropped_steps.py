"""Steps that gcc took for functions without effect: their calls were missing in the program."""

from __future__ import annotations

import numpy as np
import onnx.parser
import pytest

from quantable.driver.compile import Calibration, compile_model
from quantable.driver.validate import validate

TWO_TRANSPOSES = """
<ir_version: 10, opset_import: ["" : 13]>
network (float[1,4,7,6] x) => (float[1,4,7,1] y)
<float[6,1] w = {0.125, -0.132, 0.64, 0.105, -0.535, 0.362}> {
  m = MaxPool <kernel_shape = [1, 1]> (x)
  y = MatMul (m, w)
}
"""


@pytest.mark.parametrize("target", ["x86-vnni", "c-portable", "cortex-m4", "riscv32"])
def test_a_copy_from_the_arena_to_the_arena_is_made(tmp_path, target):
    """gcc 12 at -O1 and -O2 left the second transpose out."""
    path, folder = tmp_path / "network.onnx", tmp_path / "build"
    onnx.save(onnx.parser.parse_model(TWO_TRANSPOSES), path)
    inputs = np.random.default_rng(0).standard_normal((6, 4, 7, 6)).astype(np.float32)
    np.save(tmp_path / "x.npy", inputs)
    data = str(tmp_path / "x.npy")
    compile_model(path, folder, target=target, calibration=Calibration(data))
    assert (folder / "model.c").read_text("utf-8").count("(Transpose)") == 2
    claims = validate(folder, data, flags=["-O1", "-O2", "-O3", "-Os"])
    assert [f"{claim.name}: {claim.found}" for claim in claims if not claim.held] == []
