"""Shared networks with AVX512-VNNI, on an emulated PC: the integers of the reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from quantable.adapters.emulated import EmulatedModel
from quantable.adapters.processors import missing_tools
from quantable.bench.datasets import NETWORKS
from quantable.schema import load
from tests.networks.conftest import Case, demand_reference

PROCESSOR = "x86-64-avx512vnni"
SMALL = ("resnet8", "fc_autoencoder")


@pytest.mark.parametrize("case", [
    pytest.param(name, marks=pytest.mark.slow if name in SMALL else pytest.mark.fuzz)
    for name in NETWORKS
], indirect=True)  # fmt: skip
def test_emulated_code_gives_the_integers_of_the_reference(
    case: Case, compiled: Callable[[Case, str], Path]
) -> None:
    if missing_tools(PROCESSOR):
        pytest.skip(f"needs {', '.join(missing_tools(PROCESSOR))}")
    folder = compiled(case, "x86-vnni")
    model = EmulatedModel(folder, processor=PROCESSOR)
    demand_reference(case, load(folder / "06-plan.qir"), model, 1)
