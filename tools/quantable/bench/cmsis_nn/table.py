"""The table of the comparison, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quantable.bench.cmsis_nn.measure import Count


@dataclass(frozen=True, slots=True)
class Row:
    """One network.

    Attributes:
        name: Its name.
        levels: Optimization levels, in the order of the counts.
        their_counts, our_counts: By level.
        difference: Of the outputs, in steps of a byte.
    """

    name: str
    levels: tuple[str, ...]
    their_counts: tuple[Count, ...]
    our_counts: tuple[Count, ...]
    difference: float

    @property
    def theirs(self) -> Count:
        """CMSIS-NN's count at the level that suits it best."""
        return min(self.their_counts, key=lambda count: count.instructions)

    @property
    def ours(self) -> Count:
        """Our count at the first level: what generated build files use."""
        return self.our_counts[0]

    @property
    def fewer(self) -> float:
        """Percent of CMSIS-NN's instructions that ours do without."""
        return 100 * (1 - self.ours.instructions / self.theirs.instructions)


def table(rows: Sequence[Row]) -> str:
    """Return one line a network, and their sum."""
    levels = rows[0].levels
    head = ["network", *(f"CMSIS-NN {level}" for level in levels)]
    head += [*(f"ours {level}" for level in levels), "fewer", "code", "arena", "stack", "differs"]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in rows:
        a, b = row.theirs, row.ours
        counts = [_millions(c.instructions) for c in (*row.their_counts, *row.our_counts)]
        lines.append(_line([
            row.name, *counts, f"{row.fewer:.0f} %", f"{a.code_bytes} / {b.code_bytes}",
            f"{a.activation_bytes} + {a.scratch_bytes} / {b.activation_bytes}",
            f"{a.stack_bytes} / {b.stack_bytes}", f"{row.difference:.1f}",
        ]))  # fmt: skip
    lines.append(_total(rows))
    return "\n".join(lines)


def steps_text(row: Row) -> str:
    """Return the instructions of every step, CMSIS-NN's at its best level and ours."""
    lines = [f"{row.name}: instructions of every step, over all samples"]
    numbers = sorted({*row.theirs.steps, *row.ours.steps})
    for number in numbers:
        pair = [count.steps.get(number, 0) for count in (row.theirs, row.ours)]
        lines.append(f"  {number:3} {pair[0]:10} {pair[1]:10}")
    return "\n".join(lines)


def _total(rows: Sequence[Row]) -> str:
    counts = [
        sum(getattr(row, side)[index].instructions for row in rows)
        for side in ("their_counts", "our_counts")
        for index in range(len(rows[0].levels))
    ]
    best = sum(row.theirs.instructions for row in rows)
    fewer = 100 * (1 - sum(row.ours.instructions for row in rows) / best)
    return _line(["all", *map(_millions, counts), f"{fewer:.0f} %", "", "", "", ""])


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
