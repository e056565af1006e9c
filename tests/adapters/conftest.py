"""Emitted code of a real network, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantable.driver import api

DEMO = Path(__file__).resolve().parents[2] / "tools/quantable/demo"


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's network as code for x86-vnni."""
    folder = tmp_path_factory.mktemp("adapters") / "build"
    canonical = api.canonicalize(api.import_model(DEMO / "digits.onnx"))
    how = api.Preprocessing(scale=1 / 16, layout="NCHW")
    profile = api.observe(canonical, DEMO / "digits_calibration.npz", how, samples=20)
    calibrated = api.calibrate(api.quantize(canonical, "x86-vnni"), profile)
    api.emit(api.lower(api.refine(calibrated)), folder)
    return folder
