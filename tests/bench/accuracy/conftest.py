"""Makes results without measuring."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from quantable.bench.accuracy.outcome import Outcome, Reference
from quantable.bench.accuracy.results import Result
from quantable.bench.accuracy.rows import Row, row
from quantable.bench.accuracy.suites import Case

MakeRow = Callable[..., Row]


def flags(count: int, of: int) -> np.ndarray:
    """Return so many True, then False."""
    return np.arange(of) < count


@pytest.fixture
def make_row() -> MakeRow:
    """Return a function that makes a row from counts, on a float network that is right in 75 %."""

    def make(
        tool: str,
        *,
        right: int | None = 750,
        agreeing: int = 990,
        noise: float = 0.001,
        network: str = "resnet8",
        suite: str = "w8a8",
        count: int = 1000,
        bits: tuple[float, float] | None = None,
    ) -> Row:
        scores = np.zeros((count, 2), np.float32)
        scores[:, 0] = 1
        labels = None if right is None else np.where(flags(count * 3 // 4, count), 0, 1)
        found = Outcome(
            np.full((1, count), noise),
            flags(agreeing, count),
            None if right is None else flags(right, count),
        )
        result = Result({}, 1.25, 2.5, 100.0, bits, found)
        return row(Case(suite, network, tool), result, Reference((scores,), labels))

    return make
