"""Stages of the embedded network, made once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantable.driver import api
from quantable.driver.compile import Calibration, compile_model
from quantable.ir import Graph

DEMO = Path(__file__).resolve().parents[3] / "tools/quantable/demo"
STAGES = ("00-import", "01-opt", "02-quantize", "03-calibrate", "04-opt", "05-lower", "06-plan")


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Graph]:
    """Return the graph of every stage by the stem of its file."""
    folder = tmp_path_factory.mktemp("diff")
    how = api.Preprocessing(scale=1 / 16, layout="NCHW")
    calibration = Calibration(DEMO / "digits_calibration.npz", preprocessing=how, samples=8)
    compile_model(DEMO / "digits.onnx", folder, target="x86-vnni", calibration=calibration)
    return {name: api.load(folder / f"{name}.qir") for name in STAGES}
