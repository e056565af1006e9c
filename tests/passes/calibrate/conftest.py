"""Real networks, quantized and calibrated, with their samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from quantable.bench.datasets import NETWORKS
from quantable.driver import api
from quantable.driver.pipelines import resolve, with_dispatch
from quantable.ir import Graph, Profile
from quantable.passes.base import PassContext, run_passes
from quantable.reference import ReferenceRuntime
from quantable.targets import load_target
from quantable.training import ReferenceLaboratory

SHARED = Path(__file__).resolve().parents[3].parent / "shared"
COUNT, OTHERS = 96, 48


@dataclass(frozen=True)
class RealCase:
    """A real network.

    Attributes:
        plain: Its canonical float graph.
        profile: Statistics of its samples.
        samples: Calibration samples.
        others: Samples that nothing was fitted on.
    """

    plain: Graph
    profile: Profile
    samples: list[dict[str, np.ndarray]]
    others: list[dict[str, np.ndarray]]

    def context(self, target: str) -> PassContext:
        laboratory = ReferenceLaboratory(self.samples)
        return PassContext(target=load_target(target), profile=self.profile, laboratory=laboratory)

    def calibrated(
        self, context: PassContext, pipeline: str = "calibrate", schemes: tuple[str, ...] = ()
    ) -> Graph:
        """Return what a pipeline makes of the network, quantized for the context's target."""
        passes = resolve(with_dispatch("quantize", schemes=schemes))
        return run_passes(self.plain, [*passes, *resolve(pipeline)], context)

    def logits(self, graph: Graph, value: str) -> np.ndarray:
        """Return a value on the other samples."""
        runtime = ReferenceRuntime(graph)
        return np.concatenate([runtime.run(sample, [value])[value] for sample in self.others])


_CASES: dict[str, RealCase] = {}


@pytest.fixture(scope="session")
def real() -> Callable[[str], RealCase]:
    """Return a shared network with samples to calibrate on, and others."""

    def build(name: str) -> RealCase:
        if not SHARED.is_dir():
            pytest.skip("needs the folder of shared networks beside the project")
        if name not in _CASES:
            network = NETWORKS[name]
            plain = api.canonicalize(api.import_model(network.model(SHARED)))
            samples, others = (
                [{plain.inputs[0]: found.load(i)[None]} for i in range(count)]
                for split, count in (("calibration", COUNT), ("evaluation", OTHERS))
                for found in [network.samples(SHARED, split)]
            )
            profile = api.observe(plain, samples, threads=1)
            _CASES[name] = RealCase(plain, profile, samples, others)
        return replace(_CASES[name])

    return build
