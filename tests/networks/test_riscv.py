"""The networks of MLPerf Tiny on emulated RISC-V cores: the integers, and what they cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from quantable.adapters.riscv import EmulatedModel
from quantable.adapters.riscv_program import missing_tools
from quantable.backends.c import emit
from quantable.reference import ReferenceRuntime
from quantable.schema import load
from quantable.targets.kernel_sets import RV32
from tests.networks.conftest import Case

pytestmark = pytest.mark.slow
INSTRUCTIONS_PER_PRODUCT = {
    "resnet8": 3.0, "dscnn_kws": 3.7, "mobilenetv1_vww": 3.8, "fc_autoencoder": 3.6,
}  # fmt: skip
"""The most that each network may take on average on rv32imac; measured, and a little more."""


@pytest.mark.parametrize("case", sorted(INSTRUCTIONS_PER_PRODUCT), indirect=True)
def test_scalar_code_gives_the_integers_of_the_reference(
    case: Case, compiled: Callable[[Case, str], Path], tmp_path: Path
) -> None:
    """The plan is that of Cortex-M, which both targets share."""
    if missing_tools():
        pytest.skip(f"needs {', '.join(missing_tools())}")
    graph = load(compiled(case, "cortex-m4") / "06-plan.qir")
    emit(graph, tmp_path, kernels=RV32)
    model = EmulatedModel(tmp_path)
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
    assert max(run.instructions) <= INSTRUCTIONS_PER_PRODUCT[case.network.name] * products
