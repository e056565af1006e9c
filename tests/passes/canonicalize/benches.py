"""Real networks on a bench: a float graph, a laboratory, and a judge for a target."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from quantable.bench.datasets import NETWORKS
from quantable.driver import api
from quantable.driver.judging import QuantizedNoise
from quantable.ir import Graph, GraphEditor
from quantable.passes.base import PassContext
from quantable.passes.canonicalize.channel_groups import channel_groups, scale_channels
from quantable.passes.laboratory import Judge, Laboratory
from quantable.targets.description import Target, load_target
from quantable.training import ReferenceLaboratory
from tests.networks.conftest import SHARED, Case

_PER_TENSOR = """extends = "onnxruntime"
name = "per-tensor"
[schemes.weight]
granularity = "tensor"
[schemes.bias]
granularity = "tensor"
"""


@dataclass(frozen=True)
class Bench:
    """What a pass is tried on.

    Attributes:
        graph: The canonical float graph.
        target: What it is quantized for.
        laboratory: Calibration samples.
        judge: Judges on them.
        others: Judges the same way on samples that no pass ever sees.
    """

    graph: Graph
    target: Target
    laboratory: Laboratory
    judge: QuantizedNoise
    others: QuantizedNoise

    def context(self) -> PassContext:
        """Return a new context."""
        return PassContext(target=self.target, laboratory=self.laboratory, judge=self.judge)


def per_tensor(folder: Path, bits: int = 8) -> Target:
    """Return a target with one symmetric scale for all channels of a weight."""
    path = folder / f"per-tensor-{bits}.toml"
    most = (1 << (bits - 1)) - 1
    path.write_text(
        _PER_TENSOR.replace(
            "[schemes.weight]\n",
            f"[schemes.weight]\nbits = {bits}\nquant_min = {-most}\nquant_max = {most}\n",
        )
    )
    return load_target(path)


def bench(name: str, target: Target, samples: int = 32) -> Bench:
    """Put a shared network on a bench; skips the test where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("needs the folder of shared networks beside the project")
    case = Case(NETWORKS[name])
    graph = api.canonicalize(api.import_model(case.model))
    laboratory = ReferenceLaboratory(case.inputs("calibration", samples))
    unseen = ReferenceLaboratory(case.inputs("evaluation", samples))
    return Bench(
        graph, target, laboratory, QuantizedNoise(graph, target, laboratory),
        QuantizedNoise(graph, target, unseen),
    )  # fmt: skip


def distance(laboratory: Laboratory, before: Graph, after: Graph) -> float:
    """Return how far apart two float graphs are on all samples, relative to the first one."""
    samples = range(laboratory.count)
    found = laboratory.noise(after, laboratory.values(before, before.outputs, samples), samples)
    return float(np.sqrt(max(found.values())))


def randomized(graph: Graph, seed: int) -> Graph:
    """Return a graph with random parameters, the channels of which differ in size."""
    rng = np.random.default_rng(seed)
    changed = {}
    for name, ref in graph.parameters.items():
        if ref.dtype.is_float and ref.element_count > 1:
            size = 10.0 ** rng.uniform(-1, 1, ref.shape[:1] + (1,) * (len(ref.shape) - 1))
            numbers = (size * rng.standard_normal(ref.shape)).astype(np.float32)
            changed[name] = graph.store.put(numbers)
    return replace(graph, parameters={**graph.parameters, **changed})


def with_outliers(graph: Graph, first: str, times: float) -> Graph:
    """Return the same function, with two channels of a layer that are so many times larger."""
    groups = channel_groups(graph, with_norms=True)
    group = next(group for group in groups if group.firsts[0].name == first)
    editor = GraphEditor(graph)
    scale = np.ones(graph.array(group.firsts[0].inputs[1]).shape[-1])
    scale[[3, 40]] = 1.0 / times
    scale_channels(editor, group, scale)
    return editor.finish()


def eager(first: Graph) -> Judge:
    """Return a judge that likes every graph better than any before, but the first."""
    seen: list[Graph] = [first]

    def judge(graph: Graph) -> float:
        if graph is not seen[-1]:
            seen.append(graph)
        return 0.5 ** len(seen)

    return judge


def stubborn(first: Graph) -> Judge:
    """Return a judge that likes the first graph best."""
    return lambda graph: 1.0 if graph is first else 2.0
