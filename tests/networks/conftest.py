"""The ten shared networks, each compiled once a session for each target."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from quantable.adapters.c_compiler import Array, TensorInfo
from quantable.adapters.emulated import EmulatedModel, EmulatedRun
from quantable.bench.datasets import NETWORKS, Network
from quantable.bench.datasets import Samples as Inputs
from quantable.driver.compile import Calibration, compile_model
from quantable.driver.data import Sample
from quantable.ir import Graph
from quantable.reference import ReferenceRuntime

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
TARGETS = ("onnxruntime", "x86-vnni")
PHOTOS = ("mobilenetv1_0.25_128", "mobilenetv2_keras", "mobilenetv1_vww")


@dataclass(frozen=True)
class Case:
    """A network with its inputs, and where it was compiled to."""

    network: Network

    @property
    def model(self) -> Path:
        return self.network.model(SHARED)

    def inputs(self, split: str, count: int) -> list[Sample]:
        """Return samples as the driver takes them: one dictionary each."""
        name = _input_name(self.model)
        found: Inputs = self.network.samples(SHARED, split)
        return [{name: found.load(index)[None]} for index in range(min(count, found.count))]

    def calibration(self) -> list[Sample]:
        return self.inputs("calibration", 128)

    def evaluation(self) -> list[Sample]:
        return self.inputs("evaluation", 64 if self.network.name in PHOTOS else 256)


def _input_name(model: Path) -> str:
    import onnx

    graph = onnx.load(model, load_external_data=False).graph
    parameters = {tensor.name for tensor in graph.initializer}
    return next(str(item.name) for item in graph.input if item.name not in parameters)


@pytest.fixture(scope="session", params=list(NETWORKS))
def case(request: pytest.FixtureRequest) -> Case:
    """One shared network."""
    if not SHARED.is_dir():
        pytest.skip("needs the folder of shared networks beside the project")
    return Case(NETWORKS[request.param])


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case, str], Path]:
    """Return the folder that a network was compiled into."""
    done: dict[tuple[str, str], Path] = {}

    def build(case: Case, target: str) -> Path:
        key = (case.network.name, target)
        if key not in done:
            folder = tmp_path_factory.mktemp(f"{case.network.name}-{target}")
            calibration = Calibration(data=case.calibration())
            compile_model(case.model, folder, target=target, calibration=calibration)
            done[key] = folder
        return done[key]

    return build


@pytest.fixture(scope="session")
def compilers() -> list[str]:
    """gcc and clang, by the names they have here."""
    names = ["gcc", *(name for name in ("clang", "clang-19") if shutil.which(name))]
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    return names[:2]


def integers(case: Case, tensors: Sequence[TensorInfo], count: int) -> dict[str, Array]:
    """Return evaluation samples as a program's inputs, with a leading axis of samples."""
    samples = case.inputs("evaluation", count)
    return {
        t.value: np.concatenate([t.quantize(sample[t.name]) for sample in samples])[:, None]
        for t in tensors
    }


def demand_reference(case: Case, graph: Graph, model: EmulatedModel, count: int) -> EmulatedRun:
    """Run samples on an emulated machine, demand the reference's integers, and return the run."""
    reference = ReferenceRuntime(graph)
    run = model.run(integers(case, model.inputs, count), timeout=900.0)
    for index, sample in enumerate(case.inputs("evaluation", count)):
        expected = reference.run(sample)
        for t in model.outputs:
            found = t.dequantize(run.outputs[t.value][index])
            np.testing.assert_array_equal(found, expected[t.name])
    return run
