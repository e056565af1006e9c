"""Float export of the shared networks: ONNX Runtime computes the same as on the source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantable.adapters.onnxruntime import OrtModel
from quantable.backends.onnx import emit
from quantable.bench.datasets import NETWORKS
from quantable.frontend import import_model

SHARED = Path(__file__).resolve().parents[3].parent / "shared"
HIGHEST_OPSET = {"cct_cifar": 17, "fc_autoencoder": 10}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared networks are not beside the project")
@pytest.mark.parametrize("name", NETWORKS)
def test_float_export_equals_the_source(name: str, tmp_path: Path) -> None:
    network = NETWORKS[name]
    source = network.model(SHARED)
    graph = import_model(source)
    manifest = emit(graph, tmp_path)
    assert manifest["opset"] <= HIGHEST_OPSET.get(name, 13)
    samples = network.samples(SHARED, "calibration")
    inputs = {graph.inputs[0]: np.stack([samples.load(i) for i in range(min(network.batch, 3))])}
    expected = OrtModel(source).run(inputs)
    found = OrtModel(tmp_path / "model.onnx").run(inputs)
    assert list(found) == list(expected)
    for key, array in expected.items():
        np.testing.assert_allclose(found[key], array, rtol=1e-6, atol=1e-6)
