"""Shared networks on emulated RISC-V cores: the integers, and what those of MLPerf Tiny cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from quantable.adapters.emulated import EmulatedModel
from quantable.adapters.processors import missing_tools
from quantable.backends.c import emit
from quantable.bench.datasets import NETWORKS
from quantable.schema import load
from quantable.targets.kernel_sets import RV32, RVV
from tests.networks.conftest import Case, demand_reference

SCALAR = {"resnet8": 3.0, "dscnn_kws": 3.7, "mobilenetv1_vww": 4.4, "fc_autoencoder": 3.6}
"""The most instructions a product that each network may take on average on rv32imac; measured, and
a little more."""
VECTORS = {"resnet8": 0.25, "dscnn_kws": 0.33, "mobilenetv1_vww": 0.54, "fc_autoencoder": 0.4}
"""On rv64gcv with vectors of 128 bits."""


@pytest.mark.slow
@pytest.mark.parametrize("case", sorted(SCALAR), indirect=True)
def test_code_gives_the_integers_of_the_reference(
    case: Case, compiled: Callable[[Case, str], Path], tmp_path: Path
) -> None:
    """Both targets share the plan."""
    missing = missing_tools("rv32imac", "rv64gcv-128")
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    graph = load(compiled(case, "riscv32") / "06-plan.qir")
    for kernels, processor, limits in (
        (RV32, "rv32imac", SCALAR), (RVV, "rv64gcv-128", VECTORS)
    ):  # fmt: skip
        folder = tmp_path / processor
        emit(graph, folder, kernels=kernels)
        model = EmulatedModel(folder, processor=processor)
        run = demand_reference(case, graph, model, 2)
        products = model.manifest["macs"]
        assert isinstance(products, int)
        assert max(run.instructions) <= limits[case.network.name] * products


@pytest.mark.fuzz
@pytest.mark.parametrize("case", sorted({*NETWORKS} - {*SCALAR}), indirect=True)
def test_all_other_networks(
    case: Case, compiled: Callable[[Case, str], Path], tmp_path: Path
) -> None:
    """One sample each."""
    missing = missing_tools("rv32imac", "rv64gcv-256")
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    graph = load(compiled(case, "riscv32") / "06-plan.qir")
    for kernels, processor in ((RV32, "rv32imac"), (RVV, "rv64gcv-256")):
        folder = tmp_path / processor
        emit(graph, folder, kernels=kernels)
        demand_reference(case, graph, EmulatedModel(folder, processor=processor), 1)
