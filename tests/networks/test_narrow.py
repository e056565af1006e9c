"""Targets of other widths on real networks: compiled code gives the integers of the reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from quantable.driver.validate import validate
from quantable.targets import TARGETS
from tests.networks.conftest import TARGETS as USUAL
from tests.networks.conftest import Case

pytestmark = pytest.mark.slow
Compiled = Callable[[Case, str], Path]


@pytest.mark.parametrize("target", sorted(set(TARGETS) - set(USUAL)))
@pytest.mark.parametrize("case", ["resnet8", "dscnn_kws", "cct_cifar"], indirect=True)
def test_every_claim_holds_for_targets_of_other_widths(
    case: Case, target: str, compiled: Compiled
) -> None:
    claims = validate(compiled(case, target), case.evaluation()[:8])
    assert [claim for claim in claims if not claim.held] == []
