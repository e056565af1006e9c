"""The ten shared networks: few transposes, the same bits, arenas as small as they can be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantable.bench.datasets import NETWORKS
from quantable.frontend import import_model
from quantable.ir import Graph
from quantable.passes.base import PassContext, run_passes
from quantable.passes.plan.assign_layout import AssignLayout
from quantable.passes.plan.plan_memory import PlanMemory
from quantable.passes.plan.storage import arena_buffers, largest_live_set
from quantable.passes.registry import GROUPS, pass_class
from quantable.reference import FloatExecutor, ReferenceRuntime, observe
from quantable.targets import load_target

SHARED = Path(__file__).resolve().parents[3].parent / "shared"
TRANSPOSES = {"resnet20": 1, "resnet56": 1, "ultraface_slim": 1, "cct_cifar": 13}
"""The network's interface (an input with channels first) and three a layer of attention."""
ARENAS = {
    "cct_cifar": 81920, "dscnn_kws": 16000, "fc_autoencoder": 256, "mobilenetv1_0.25_128": 98304,
    "mobilenetv1_vww": 55296, "mobilenetv2_keras": 1505280, "resnet20": 49152, "resnet56": 49152,
    "resnet8": 49152, "ultraface_slim": 921600,
}  # fmt: skip


def _integer(name: str) -> tuple[Graph, dict[str, np.ndarray[Any, Any]]]:
    network = NETWORKS[name]
    context = PassContext(executor=FloatExecutor(), target=load_target("c-portable"))
    graph = import_model(network.model(SHARED))
    graph = run_passes(graph, [pass_class(p)() for p in GROUPS["canonicalize"]], context)
    calibration = network.samples(SHARED, "calibration")
    (x,) = graph.inputs
    samples = [{x: calibration.load(index)[None]} for index in range(2)]
    context.profile = observe(graph, samples, threads=1)
    names = (*GROUPS["quantize"], "calibrate", *GROUPS["refine"], *GROUPS["lower"])
    return run_passes(graph, [pass_class(p)() for p in names], context), samples[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_network(planning: Any, name: str) -> None:
    if not SHARED.is_dir():
        pytest.skip("needs the folder of shared networks beside the project")
    integer, inputs = _integer(name)
    laid_out = planning.after(integer, AssignLayout())
    planned = planning.after(laid_out, PlanMemory())
    kinds = planning.kinds(laid_out)
    assert kinds.count("Transpose") == TRANSPOSES.get(name, 0)
    results = [ReferenceRuntime(graph).run(inputs) for graph in (integer, laid_out, planned)]
    for output in integer.outputs:
        assert np.array_equal(results[0][output], results[1][output])
        assert np.array_equal(results[0][output], results[2][output])
    planning.simulate_plan(planned, inputs)
    buffers = arena_buffers(planned, planned.operations)
    bound = largest_live_set(buffers, planned.plan.alignment)
    assert planned.plan.arena_bytes == bound == ARENAS[name]
