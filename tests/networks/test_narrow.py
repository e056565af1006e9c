"""Targets of other widths on real networks: compiled code gives the integers of the reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from quantable.driver.validate import validate
from quantable.targets import TARGETS, load_target
from tests.networks.conftest import TARGETS as USUAL
from tests.networks.conftest import Case

pytestmark = pytest.mark.slow
Compiled = Callable[[Case, str], Path]
OTHER_WIDTHS = [
    name
    for name in sorted(set(TARGETS) - set(USUAL))
    if load_target(name).kernels.name == "portable"
    and load_target(name).arithmetic.contract in ("float32-rne", "onnx-qdq")
]
"""Kernels of other machines, and networks without floats, have tests of their own."""


@pytest.mark.parametrize("target", OTHER_WIDTHS)
@pytest.mark.parametrize("case", ["resnet8", "dscnn_kws", "cct_cifar"], indirect=True)
def test_every_claim_holds_for_targets_of_other_widths(
    case: Case, target: str, compiled: Compiled
) -> None:
    claims = validate(compiled(case, target), case.evaluation()[:8])
    assert [claim for claim in claims if not claim.held] == []
