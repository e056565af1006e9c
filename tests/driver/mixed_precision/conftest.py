"""A real network with few samples."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from quantable.bench.datasets import DEFAULT_SHARED, network
from quantable.driver import api
from quantable.driver.data import Array
from quantable.driver.mixed_precision.search import Search
from quantable.ir import Graph, Profile
from quantable.passes.laboratory import Checkpoint
from quantable.training import ReferenceLaboratory

TARGET = "onnxruntime-w4a4"
SAMPLES = 24


@dataclass(frozen=True)
class Case:
    """A network, and what a search in it is given."""

    graph: Graph
    profile: Profile
    laboratory: ReferenceLaboratory
    samples: list[Array]

    def search(self, checkpoint: Checkpoint | None = None, target: str = TARGET) -> Search:
        """Return a search that has measured nothing yet."""
        return Search(
            self.graph, target, self.profile, self.laboratory, checkpoint, samples=6, widths=(4, 8)
        )


@pytest.fixture(scope="session")
def case() -> Case:
    """Return resnet8."""
    if not DEFAULT_SHARED.is_dir():
        pytest.skip("needs the folder of shared networks beside the project")
    item = network("resnet8")
    path = item.model(DEFAULT_SHARED)
    graph = api.canonicalize(api.import_model(path))
    images = item.samples(DEFAULT_SHARED, "calibration")
    samples = [images.load(index)[None] for index in range(SAMPLES)]
    profile = api.observe(graph, samples, threads=1)
    laboratory = ReferenceLaboratory({graph.inputs[0]: sample} for sample in samples)
    return Case(graph, profile, laboratory, samples)


@pytest.fixture(scope="session")
def measured(case: Case) -> Search:
    """Return a search in resnet8 that has measured everything."""
    search = case.search()
    assert search.losses
    return search
