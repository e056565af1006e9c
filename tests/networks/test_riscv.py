"""The networks of MLPerf Tiny on emulated RISC-V cores: the integers, and what they cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from quantable.adapters.emulated import EmulatedModel
from quantable.adapters.processors import missing_tools
from quantable.backends.c import emit
from quantable.ir import Graph
from quantable.reference import ReferenceRuntime
from quantable.schema import load
from quantable.targets.kernel_sets import RV32, RVV
from tests.networks.conftest import Case

pytestmark = pytest.mark.slow
SCALAR = {"resnet8": 3.0, "dscnn_kws": 3.7, "mobilenetv1_vww": 4.4, "fc_autoencoder": 3.6}
"""The most instructions a product that each network may take on average on rv32imac; measured, and
a little more."""
VECTORS = {"resnet8": 0.25, "dscnn_kws": 0.33, "mobilenetv1_vww": 0.54, "fc_autoencoder": 0.4}
"""On rv64gcv with vectors of 128 bits."""


def _instructions_per_product(case: Case, model: EmulatedModel, graph: Graph) -> float:
    """Demand the integers of the reference, and return what the dearest sample took."""
    reference = ReferenceRuntime(graph)
    samples = case.inputs("evaluation", 2)
    inputs = {
        t.value: np.concatenate([t.quantize(sample[t.name]) for sample in samples])[:, None]
        for t in model.inputs
    }
    run = model.run(inputs)
    for index, sample in enumerate(samples):
        expected = reference.run(sample)
        for t in model.outputs:
            found = t.dequantize(run.outputs[t.value][index])
            np.testing.assert_array_equal(found, expected[t.name])
    products = model.manifest["macs"]
    assert isinstance(products, int)
    return max(run.instructions) / products


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
        assert _instructions_per_product(case, model, graph) <= limits[case.network.name]
