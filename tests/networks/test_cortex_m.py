"""The networks of MLPerf Tiny on emulated cores: the integers, and what they cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from quantable.adapters.emulated import EmulatedModel
from quantable.adapters.processors import missing_tools
from quantable.reference import ReferenceRuntime
from quantable.schema import load
from tests.networks.conftest import Case

pytestmark = pytest.mark.slow
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


@pytest.mark.parametrize("core", sorted(INSTRUCTIONS_PER_PRODUCT))
@pytest.mark.parametrize("case", sorted(INSTRUCTIONS_PER_PRODUCT["cortex-m4"]), indirect=True)
def test_emulated_code_gives_the_integers_of_the_reference(
    case: Case, core: str, compiled: Callable[[Case, str], Path]
) -> None:
    if missing_tools(core):
        pytest.skip(f"needs {', '.join(missing_tools(core))}")
    folder = compiled(case, core)
    model = EmulatedModel(folder, processor=core)
    reference = ReferenceRuntime(load(folder / "06-plan.qir"))
    samples = case.inputs("evaluation", 3)
    inputs = {
        t.value: np.concatenate([t.quantize(sample[t.name]) for sample in samples])[:, None]
        for t in model.inputs
    }
    runs = [model.run(inputs) for _ in "ab"]
    if model.manifest["push"] is not None:
        by_rows = EmulatedModel(folder, processor=core, by_rows=True).run(inputs)
        for name, expected in runs[0].outputs.items():
            np.testing.assert_array_equal(by_rows.outputs[name], expected)
        assert max(by_rows.instructions) <= 1.05 * max(runs[0].instructions)
    assert runs[0].instructions == runs[1].instructions
    for index, sample in enumerate(samples):
        expected = reference.run(sample)
        for t in model.outputs:
            found = t.dequantize(runs[0].outputs[t.value][index])
            np.testing.assert_array_equal(found, expected[t.name])
    if core == "cortex-m4":
        assert model.sizes().arena <= ARENA_BYTES[case.network.name]
    products = model.manifest["macs"]
    assert isinstance(products, int)
    limit = INSTRUCTIONS_PER_PRODUCT[core][case.network.name] * products
    assert max(runs[0].instructions) <= limit
