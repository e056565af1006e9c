"""The ten shared networks: clean after the group, and equal to ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from quantable.frontend import import_model
from quantable.ir import Graph
from quantable.passes.base import PassContext, run_passes
from quantable.passes.registry import GROUPS, pass_class
from quantable.reference import FloatExecutor, ReferenceRuntime

MODELS = Path(__file__).resolve().parents[4] / "shared" / "models"
NETWORKS = (
    "cct_cifar", "dscnn_kws", "fc_autoencoder", "mobilenetv1_0.25_128", "mobilenetv1_vww",
    "mobilenetv2_keras", "resnet20", "resnet56", "resnet8", "ultraface_slim",
)  # fmt: skip
GONE = frozenset(
    {
        "BatchNormalization", "Cast", "Constant", "ConstantOfShape", "DequantizeLinear", "Div",
        "Erf", "Flatten", "Gather", "Gemm", "Identity", "Shape", "Squeeze", "Unsqueeze",
    }
)  # fmt: skip
TOLERANCE = 1e-5
"""Of the largest output; ONNX Runtime and torch sum in different orders."""


@pytest.fixture(params=NETWORKS, scope="module")
def network(request: pytest.FixtureRequest) -> tuple[Path, Graph, Graph]:
    path = MODELS / f"{request.param}.onnx"
    if not path.is_file():
        pytest.skip("needs the folder of shared networks beside the project")
    graph = import_model(path)
    passes = [pass_class(name)() for name in GROUPS["canonicalize"]]
    context = PassContext(executor=FloatExecutor())
    return path, graph, run_passes(graph, passes, context)


def test_clean(network: tuple[Path, Graph, Graph]) -> None:
    _, imported, graph = network
    assert not {op.kind for op in graph.operations} & GONE
    assert graph.inputs == imported.inputs
    assert graph.outputs == imported.outputs
    for op in graph.operations:
        for name in op.inputs:
            value = graph.values[name]
            assert value.dtype.is_float or name in graph.parameters, op.where()
    symbols = {d for n in graph.inputs for d in graph.shape(n) or () if isinstance(d, str)}
    for value in graph.values.values():
        assert value.shape is not None
        assert {d for d in value.shape if isinstance(d, str)} <= symbols, value


def test_parameters_are_not_shared(network: tuple[Path, Graph, Graph]) -> None:
    graph = network[2]
    assert all(len(graph.uses(name)) == 1 for name in graph.parameters)


def test_every_operation_names_its_source_nodes(network: tuple[Path, Graph, Graph]) -> None:
    _, imported, graph = network
    nodes = {name for op in imported.operations for name in op.sources}
    assert all(op.sources and set(op.sources) <= nodes for op in graph.operations)


def test_a_second_round_changes_nothing(network: tuple[Path, Graph, Graph]) -> None:
    graph = network[2]
    context = PassContext(executor=FloatExecutor())
    for name in GROUPS["canonicalize"]:
        assert pass_class(name)().run(graph, context) is graph, name


def test_equals_onnxruntime(network: tuple[Path, Graph, Graph]) -> None:
    path, _, graph = network
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    fed = {}
    for name in graph.inputs:
        dims = [dim if isinstance(dim, int) else 2 for dim in graph.shape(name) or ()]
        fed[name] = rng.standard_normal(dims).astype(np.float32)
    expected = session.run(list(graph.outputs), fed)
    found = ReferenceRuntime(graph).run(fed)
    for name, want in zip(graph.outputs, expected, strict=True):
        assert np.abs(found[name] - want).max() <= TOLERANCE * np.abs(want).max()
