"""Planted changes in the shared networks: a diff reports each, and only it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from quantable.ir.diff import diff_graphs
from quantable.schema import load
from tests.ir.diff.names import renamed, reordered
from tests.ir.diff.planting import planted
from tests.ir.diff.reported import check_reported
from tests.networks.conftest import Case

pytestmark = pytest.mark.slow


def test_planted_changes_are_all_that_is_reported(
    case: Case, compiled: Callable[[Case, str], Path]
) -> None:
    folder, count = compiled(case, "x86-vnni"), 0
    for seed, stage in enumerate(("01-opt", "03-calibrate", "04-opt", "05-lower")):
        graph = load(folder / f"{stage}.qir")
        for change in planted(graph, seed):
            check_reported(graph, change)
            count += 1
    assert count >= 20, "ten networks have to give 200 changes"


def test_names_and_order_are_no_difference(
    case: Case, compiled: Callable[[Case, str], Path]
) -> None:
    for path in sorted(compiled(case, "x86-vnni").glob("*.qir")):
        graph = load(path)
        others = (
            renamed(graph, 1, fresh=True),
            renamed(graph, 2, fresh=False),
            reordered(graph, 3),
            reordered(renamed(graph, 4, fresh=True), 5),
        )
        for other in others:
            assert diff_graphs(graph, other).verdict() == "same"
