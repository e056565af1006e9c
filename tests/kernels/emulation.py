"""Networks of independent operations on emulated machines, against the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantable.adapters.emulated import EmulatedModel
from quantable.adapters.processors import missing_tools
from quantable.backends.c import emit
from quantable.reference import ReferenceRuntime
from quantable.targets.kernel_sets import KernelSet
from tests.kernels.conftest import VECTORS, Network


def demand_kernels(
    network: Network,
    folder: Path,
    kernels: KernelSet,
    used: tuple[str, ...],
    portable: tuple[str, ...] = ("q_conv_", "q_depthwise_"),
) -> None:
    """Emit a network, and demand that it calls some functions, and none of portable kernels."""
    emit(network.graph(), folder, kernels=kernels)
    source = (folder / "model.c").read_text("utf-8")
    assert [name for name in used if f"  {name}(" not in source] == []
    assert [name for name in portable if f"  {name}" in source] == []


def demand_reference(
    network: Network,
    folder: Path,
    kernels: KernelSet,
    processors: tuple[str, ...],
    flags: tuple[str, ...] = ("-O2",),
) -> None:
    """Emit a network, run it on emulated processors, and demand the reference's integers."""
    if missing_tools(*processors):
        pytest.skip(f"needs {', '.join(missing_tools(*processors))}")
    graph, samples = network.graph(), network.samples()
    emit(graph, folder, kernels=kernels)
    reference = ReferenceRuntime(graph)
    expected = [
        reference.run({name: array[vector] for name, array in samples.items()})
        for vector in range(VECTORS)
    ]
    for processor in processors:
        found = EmulatedModel(folder, flags=flags, processor=processor).run(samples)
        for vector, values in enumerate(expected):
            for name, array in values.items():
                operation = graph.producers[name]
                np.testing.assert_array_equal(
                    found.outputs[name][vector], array,
                    f"{processor}: {operation.kind} {dict(operation.attributes)}",
                )  # fmt: skip
