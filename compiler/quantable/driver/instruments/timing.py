"""Time and memory of every pass; what checks and dumps cost stands in rows of their own.

Nothing of this goes into a file: it is another number every time.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from quantable.ir import Graph
from quantable.passes.instruments.instrument import Instrument, Step

_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(slots=True)
class Row:
    """What one thing cost.

    Attributes:
        name: The pass, or what else was measured.
        calls: How often it was done.
        wall, cpu: Seconds; cpu counts all threads of the process.
        peak: Largest resident size of the process so far, in bytes.
        growth: By how much `peak` grew meanwhile, in bytes.
    """

    name: str
    calls: int = 0
    wall: float = 0.0
    cpu: float = 0.0
    peak: int = 0
    growth: int = 0


class Timing(Instrument):
    """Measures passes; give it last, so that no other instrument is counted with a pass."""

    name: ClassVar[str] = "timing"

    def __init__(self) -> None:
        self._passes: list[Row] = []
        self._others: dict[str, Row] = {}
        self._started = _now()

    def before(self, step: Step) -> None:
        """Start the clocks."""
        self._passes.append(Row(f"{step.item.name}{step.item.options()}"))
        self._started = _now()

    def after(self, step: Step, result: Graph) -> None:
        """Stop the clocks."""
        _add(self._passes[-1], self._started)

    def failed(self, step: Step, error: Exception) -> None:
        """Stop the clocks of a pass that did not come to its end."""
        if not self._passes[-1].calls:
            _add(self._passes[-1], self._started)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add what happens inside to the row of a name."""
        row = self._others.setdefault(name, Row(name))
        started = _now()
        try:
            yield
        finally:
            _add(row, started)

    def of(self, instrument: Instrument) -> Instrument:
        """Return an instrument that does the same and is measured in its own row."""
        return _Measured(self, instrument)

    @property
    def rows(self) -> tuple[Row, ...]:
        """Passes in the order in which they ran, then everything else by name."""
        return (*self._passes, *(row for _, row in sorted(self._others.items())))


class _Measured(Instrument):
    def __init__(self, timing: Timing, inner: Instrument) -> None:
        self._timing, self._inner = timing, inner

    def should_run(self, step: Step) -> bool:
        return self._inner.should_run(step)

    def before(self, step: Step) -> None:
        with self._timing.measure(self._inner.name):
            self._inner.before(step)

    def after(self, step: Step, result: Graph) -> None:
        with self._timing.measure(self._inner.name):
            self._inner.after(step, result)

    def failed(self, step: Step, error: Exception) -> None:
        with self._timing.measure(self._inner.name):
            self._inner.failed(step, error)


def _now() -> tuple[float, float, int]:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT
    return time.perf_counter(), time.process_time(), peak


def _add(row: Row, started: tuple[float, float, int]) -> None:
    wall, cpu, peak = _now()
    row.calls += 1
    row.wall += wall - started[0]
    row.cpu += cpu - started[1]
    row.growth += peak - started[2]
    row.peak = max(row.peak, peak)


def lines(rows: tuple[Row, ...]) -> list[str]:
    """Return a table for a person: seconds and MiB."""
    total = sum(row.wall for row in rows)
    found = [f"{'wall s':>9} {'share':>6} {'CPU s':>9} {'peak MiB':>9} {'grown':>7}  what"]
    found += [
        f"{row.wall:9.4f} {row.wall / total if total else 0:6.1%} {row.cpu:9.4f} "
        f"{row.peak / 2**20:9.1f} {row.growth / 2**20:7.1f}  {row.name}"
        for row in rows
    ]
    return [*found, f"{total:9.4f} {1:6.0%} {'':>27}  total"]
