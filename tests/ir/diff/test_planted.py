"""A single change in a real network is reported, once, and nothing else is."""

from __future__ import annotations

import pytest

from quantable.ir import Graph
from tests.ir.diff.planting import PLANTERS, planted
from tests.ir.diff.reported import check_reported

USED = ("01-opt", "03-calibrate", "04-opt", "05-lower", "06-plan")


@pytest.mark.parametrize("stage", USED)
@pytest.mark.parametrize("seed", range(3))
def test_each_planted_change_is_all_that_is_reported(
    stages: dict[str, Graph], stage: str, seed: int
) -> None:
    found = list(planted(stages[stage], seed))
    assert len(found) >= 5
    for change in found:
        check_reported(stages[stage], change)


def test_every_kind_of_change_can_be_planted(stages: dict[str, Graph]) -> None:
    labels = {change.label for stage in USED for change in planted(stages[stage], 0)}
    assert labels == set(PLANTERS)
