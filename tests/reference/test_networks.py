"""The shared networks in float against ONNX Runtime: relative error at most 1e-4 as imported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantable.frontend import import_model
from quantable.reference import FloatExecutor, ReferenceRuntime

onnxruntime = pytest.importorskip("onnxruntime")
NETWORKS = (
    "cct_cifar", "dscnn_kws", "fc_autoencoder", "mobilenetv1_0.25_128", "mobilenetv1_vww",
    "mobilenetv2_keras", "resnet20", "resnet56", "resnet8", "ultraface_slim",
)  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_network(models: Path, rng: np.random.Generator, name: str) -> None:
    path = models / f"{name}.onnx"
    graph = import_model(path, executor=FloatExecutor())
    shapes = {n: [d if isinstance(d, int) else 1 for d in graph.shape(n)] for n in graph.inputs}
    inputs = {n: rng.normal(size=shape).astype(np.float32) for n, shape in shapes.items()}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options)
    found = ReferenceRuntime(graph).run(inputs)
    for output, expected in zip(found, session.run(list(found), inputs), strict=True):
        error = np.linalg.norm(found[output] - expected) / np.linalg.norm(expected)
        assert error <= 1e-4, output
