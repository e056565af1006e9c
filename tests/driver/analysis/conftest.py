"""Small quantized networks, and one real one, for analyses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantable.driver import api
from quantable.driver.analysis.subject import Subject, subject
from quantable.driver.data import Samples
from quantable.ir import Graph

SHARED = Path(__file__).resolve().parents[3].parent / "shared"
HOW = api.Preprocessing(scale=1 / 16, layout="NCHW")
DEMO = Path(__file__).resolve().parents[3] / "tools/quantable/demo"


@pytest.fixture(scope="session")
def digits() -> Graph:
    """The embedded network, for a target that fuses, baked."""
    graph = api.canonicalize(api.import_model(DEMO / "digits.onnx"))
    profile = api.observe(graph, DEMO / "digits_calibration.npz", HOW, samples=20)
    return api.refine(api.calibrate(api.quantize(graph, "x86-vnni"), profile))


@pytest.fixture(scope="session")
def digits_samples(digits: Graph) -> Samples:
    """Five inputs of the embedded network."""
    return api.open_samples(DEMO / "digits_test.npz", digits, HOW, samples=5)


@pytest.fixture(scope="session")
def digits_subject(digits: Graph, digits_samples: Samples) -> Subject:
    """The embedded network with its inputs."""
    return subject(digits, digits_samples)


@pytest.fixture(scope="session")
def resnet8() -> tuple[Graph, Samples]:
    """A real network with Conv + Relu and Add + Relu, and four of its inputs."""
    if not SHARED.is_dir():
        pytest.skip("needs the folder of shared networks beside the project")
    with np.load(SHARED / "data/cifar10_calibration.npz") as data:
        images = data["image"][:12].astype(np.float32)
    graph = api.canonicalize(api.import_model(SHARED / "models/resnet8.onnx"))
    quantized = api.quantize(graph, "onnxruntime")
    quantized = api.refine(api.calibrate(quantized, api.observe(graph, images[:8])))
    return quantized, api.open_samples(images[8:], quantized)


@pytest.fixture(scope="session")
def resnet8_subject(resnet8: tuple[Graph, Samples]) -> Subject:
    """The real network with its inputs."""
    return subject(*resnet8)
