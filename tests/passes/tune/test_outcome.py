"""Outcomes of blocks: they survive being kept, in memory and in a folder, bit for bit."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from quantable.driver.checkpoints import FolderCheckpoint
from quantable.ir import Decision
from quantable.passes.tune.outcome import Outcome

NAMES = st.text("abc/:._0", min_size=1, max_size=8)
# Of all NaN, the one that arithmetic makes.
NUMBERS = st.floats().map(lambda value: math.nan if math.isnan(value) else value)
DECISIONS = st.builds(
    Decision, st.tuples(NAMES, NAMES), st.text(max_size=9), st.text(max_size=9), NUMBERS,
    NUMBERS, st.booleans(), st.text(max_size=9),
)  # fmt: skip


def _same(mine: Outcome, its: Outcome) -> None:
    assert mine.decision == its.decision
    assert mine.network == its.network or math.isnan(mine.network)
    for name in ("contents", "scales"):
        held, found = getattr(mine, name), getattr(its, name)
        assert held.keys() == found.keys()
        assert all(np.array_equal(held[key], found[key]) for key in held)


@settings(max_examples=30, deadline=None)
@given(DECISIONS, st.dictionaries(NAMES, st.integers(0, 9)), st.floats())
def test_an_outcome_survives_as_arrays(decision, sizes, network):
    arrays = {name: np.arange(size, dtype=np.float32) / 3 for name, size in sizes.items()}
    outcome = Outcome(decision, arrays, arrays, network)
    _same(outcome, Outcome.of(outcome.arrays()))


def test_an_outcome_survives_in_a_folder(tmp_path):
    decision = Decision(("a",), "fit", "noise", 0.1, 0.05, True)
    arrays = {"model/conv:0/w": np.float32([[0.1, 0.2]])}
    outcome = Outcome(decision, arrays, {"c.in1": np.float32([1e-7])}, 0.25)
    folder = FolderCheckpoint(tmp_path)
    folder.store("key", outcome.arrays())
    found = folder.load("key")
    assert found is not None
    _same(outcome, Outcome.of(found))
