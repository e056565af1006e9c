"""Real networks on targets without floats: integers as the reference, and hardly less accurate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from quantable.adapters.c_compiler import CompiledModel
from quantable.reference import ReferenceRuntime
from quantable.schema import load
from tests.networks.conftest import Case

pytestmark = pytest.mark.slow
NOISE = {"c-q31-double": 0.06, "c-q31-single": 0.06, "c-power-of-two": 0.12}
"""Root mean square of the error of all outputs, relative to the float network, at most."""


@pytest.mark.parametrize("target", sorted(NOISE))
@pytest.mark.parametrize("case", ["resnet8", "dscnn_kws"], indirect=True)
def test_a_network_without_floats_is_right(
    case: Case, compiled: Callable[[Case, str], Path], target: str
) -> None:
    folder = compiled(case, target)
    integers, floats = (
        ReferenceRuntime(load(folder / name)) for name in ("06-plan.qir", "01-opt.qir")
    )
    model = CompiledModel(folder)
    noise, power = 0.0, 0.0
    for sample in case.inputs("evaluation", 32):
        expected, truth = integers.run(sample), floats.run(sample)
        found = model.run_real(sample)
        for tensor in model.outputs:
            np.testing.assert_array_equal(found[tensor.name], expected[tensor.name])
            noise += float(np.square(expected[tensor.name] - truth[tensor.name]).sum())
            power += float(np.square(truth[tensor.name]).sum())
    assert np.sqrt(noise / power) <= NOISE[target]
