"""Which steps threads share: never a choice that costs more than another one."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest

from quantable.backends.c import emit
from quantable.backends.c.sharing import MEETING, cheapest
from quantable.ir import DType
from quantable.targets.kernel_sets import X86
from tests.kernels.conftest import Network
from tests.kernels.layers import pool


def _cost(choice: tuple[bool, ...], alone: list[float], shared: list[float]) -> float:
    """Return what a choice costs: steps, and a meeting at each border but those of lone steps."""
    ends = (False, *choice, False)
    meetings = sum(before or behind for before, behind in itertools.pairwise(ends))
    steps = zip(choice, alone, shared, strict=True)
    return MEETING * meetings + sum(own[1] if is_shared else own[0] for is_shared, *own in steps)


def test_no_other_choice_costs_less() -> None:
    random = np.random.default_rng(0)
    for _ in range(300):
        count = int(random.integers(1, 9))
        alone = [float(time) for time in random.exponential(2 * MEETING, count)]
        shared = [time / 2 for time in alone]
        for index in range(count):
            if random.random() < 0.2:
                (alone if random.random() < 0.3 else shared)[index] = math.inf
        found = cheapest(alone, shared)
        least = min(_cost(c, alone, shared) for c in itertools.product((False, True), repeat=count))
        assert _cost(tuple(found), alone, shared) == pytest.approx(least)


def test_there_may_be_no_steps() -> None:
    assert cheapest([], []) == []


def _sizes(folder: Path, counts: tuple[int, ...]) -> list[int]:
    """Return the sizes of additions of so many bytes, one after the other."""
    network = Network(1)
    for count in counts:
        network.add_bytes(count, (16384, 9000))
    emit(network.graph(), folder, kernels=X86)
    source = (folder / "model.c").read_text("utf-8")
    found = [int(size) for size in re.findall(r"Q_BEGIN_STEP\(t, (\d)\)", source)]
    meetings = [int(size) for size in re.findall(r"Q_MEET_BETWEEN\(t, (\d)\)", source)]
    assert meetings == [max(pair) for pair in itertools.pairwise(found)]
    return found


def test_large_steps_are_shared_and_small_ones_are_not(tmp_path: Path) -> None:
    assert _sizes(tmp_path, (10, 1_000_000, 10, 10, 10)) == [1, 3, 1, 1, 1]


def test_a_small_step_between_large_ones_costs_no_meeting_more(tmp_path: Path) -> None:
    assert _sizes(tmp_path, (1_000_000, 10_000, 1_000_000)) == [3, 3, 3]


def test_more_is_worth_sharing_where_vectors_are_slow(tmp_path: Path) -> None:
    assert _sizes(tmp_path, (60_000,)) == [2]


def test_steps_that_no_kernel_can_share_stay_with_one_thread(tmp_path: Path) -> None:
    network = Network(1)
    pool(network, "int.AveragePool", 3, (300, 300), (3, 3), (3, 3), (0,) * 4, dtype=DType.INT16)
    emit(network.graph(), tmp_path, kernels=X86)
    assert "Q_BEGIN_STEP(t, 0);" in (tmp_path / "model.c").read_text("utf-8")
