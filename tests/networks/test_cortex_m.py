"""Shared networks on emulated cores: the integers, and what those of MLPerf Tiny cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from quantable.adapters.emulated import EmulatedModel
from quantable.adapters.processors import missing_tools
from quantable.bench.datasets import NETWORKS
from quantable.schema import load
from tests.networks.conftest import Case, demand_reference, integers

INSTRUCTIONS_PER_PRODUCT = {
    "cortex-m4": {
        "resnet8": 1.1, "dscnn_kws": 1.4, "mobilenetv1_vww": 2.0, "fc_autoencoder": 1.1,
    },
    "cortex-m55": {
        "resnet8": 0.22, "dscnn_kws": 0.38, "mobilenetv1_vww": 0.6, "fc_autoencoder": 0.2,
    },
}  # fmt: skip
"""The most that each network may take on average; measured, and a little more. A target is named as
the core that it is for."""
ARENA_BYTES = {
    "resnet8": 22_000, "dscnn_kws": 11_000, "mobilenetv1_vww": 20_000, "fc_autoencoder": 1_000,
}  # fmt: skip
"""The most that each network may need where kernels make pixels in order."""

TINY = sorted(INSTRUCTIONS_PER_PRODUCT["cortex-m4"])


@pytest.mark.slow
@pytest.mark.parametrize("core", sorted(INSTRUCTIONS_PER_PRODUCT))
@pytest.mark.parametrize("case", TINY, indirect=True)
def test_emulated_code_gives_the_integers_of_the_reference(
    case: Case, core: str, compiled: Callable[[Case, str], Path]
) -> None:
    if missing_tools(core):
        pytest.skip(f"needs {', '.join(missing_tools(core))}")
    folder = compiled(case, core)
    model = EmulatedModel(folder, processor=core)
    inputs = integers(case, model.inputs, 3)
    graph = load(folder / "06-plan.qir")
    runs = [model.run(inputs), demand_reference(case, graph, model, 3)]
    if model.manifest["push"] is not None:
        by_rows = EmulatedModel(folder, processor=core, by_rows=True).run(inputs)
        for name, expected in runs[0].outputs.items():
            np.testing.assert_array_equal(by_rows.outputs[name], expected)
        assert max(by_rows.instructions) <= 1.05 * max(runs[0].instructions)
    assert runs[0].instructions == runs[1].instructions
    if core == "cortex-m4":
        assert model.sizes().arena <= ARENA_BYTES[case.network.name]
    products = model.manifest["macs"]
    assert isinstance(products, int)
    limit = INSTRUCTIONS_PER_PRODUCT[core][case.network.name] * products
    assert max(runs[0].instructions) <= limit


@pytest.mark.fuzz
@pytest.mark.parametrize("core", sorted(INSTRUCTIONS_PER_PRODUCT))
@pytest.mark.parametrize("case", sorted({*NETWORKS} - {*TINY}), indirect=True)
def test_all_other_networks(case: Case, core: str, compiled: Callable[[Case, str], Path]) -> None:
    """One sample each."""
    if missing_tools(core):
        pytest.skip(f"needs {', '.join(missing_tools(core))}")
    folder = compiled(case, core)
    graph = load(folder / "06-plan.qir")
    demand_reference(case, graph, EmulatedModel(folder, processor=core), 1)
