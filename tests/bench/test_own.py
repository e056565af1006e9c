"""Our names of tools, and mixed precision on the demo's network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantable.bench.accuracy.evaluate import average_bits
from quantable.bench.own import work_of_target
from quantable.driver import api
from quantable.ir import UnknownNameError

DEMO = Path(__file__).resolve().parents[2] / "tools/quantable/demo"


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="onnxruntime"):
        work_of_target("onnxruntine/fast")


def test_average_bits_are_searched_for(tmp_path: Path) -> None:
    with np.load(DEMO / "digits_calibration.npz") as data:
        pixels = data["image"][:32].astype(np.float32) / 16
    images = tmp_path / "images.npy"
    np.save(images, pixels.transpose(0, 3, 1, 2)[:, None])
    work_of_target("onnxruntime-w4a4@6/fast")(DEMO / "digits.onnx", images, tmp_path)
    found = average_bits(api.load(tmp_path / "quantized.qir"))
    assert all(4 < bits <= 6 for bits in found)
