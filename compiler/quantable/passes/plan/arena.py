"""Place buffers with lifetimes in one arena (dynamic storage allocation, offline).

First-fit over several orders, then a search that moves the buffers at the top of the arena forward,
then, for small problems, branch and bound over packings with ascending offsets, as in Moffitt,
"MiniMalloc: A Lightweight Memory Allocator for Hardware-Accelerated Machine Learning" (2023). All
steps are counted, none is timed, so the result is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from quantable.passes.plan.storage import Buffer, largest_live_set

EXACT_LIMIT = 64
"""Largest number of buffers that branch and bound is tried on."""
_SHARE = 20
"""Of its steps where parts of buffers overlap: the bound, which knows no alignment, is then most
often out of reach by a few bytes."""


@dataclass
class _Problem:
    """Sizes padded to the alignment, and how far apart buffers must begin.

    Attributes:
        buffers, alignment: What is to be placed.
        bound: No arena can be smaller.
        padded: The sizes.
        conflicts: For buffer i (j, low, high): the distance from the beginning of j to that of i
            is at most `low` or at least `high`; multiples of the alignment.
    """

    buffers: Sequence[Buffer]
    alignment: int
    bound: int = 0
    padded: list[int] = field(default_factory=list)
    conflicts: list[list[tuple[int, int, int]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        step = self.alignment
        self.bound = largest_live_set(self.buffers, step)
        self.padded = [-(-b.size // step) * step for b in self.buffers]
        self.conflicts = [[] for _ in self.buffers]
        for i, one in enumerate(self.buffers):
            for j, other in enumerate(self.buffers[:i]):
                if one.overlaps(other) and one.size and other.size:
                    above, below = (
                        -(-gap // step) * step for gap in (other.gap(one), one.gap(other))
                    )
                    self.conflicts[i].append((j, -below, above))
                    self.conflicts[j].append((i, -above, below))

    def end(self, offsets: Sequence[int]) -> int:
        """Return the size of the arena."""
        return max((o + b.size for o, b in zip(offsets, self.buffers, strict=True)), default=0)


def place(
    buffers: Sequence[Buffer], alignment: int, *, rounds: int = 400, nodes: int = 50_000
) -> tuple[int, list[int]]:
    """Return the size of the arena and the offset of every buffer.

    Args:
        buffers: What to place.
        alignment: Of every offset, in bytes.
        rounds: Steps of the local search.
        nodes: Steps of branch and bound.
    """
    problem = _Problem(buffers, alignment)
    orders = [sorted(range(len(buffers)), key=_key(buffers, rule)) for rule in _ORDERS]
    found = [(problem.end(offsets), offsets) for offsets in (_fit(problem, o) for o in orders)]
    best = min(range(len(found)), key=lambda i: found[i][0])
    size, offsets = _improve(problem, orders[best], found[best], rounds)
    if any(buffer.life is not None and buffer.life.written.size > 1 for buffer in buffers):
        nodes //= _SHARE
    if size > problem.bound and len(buffers) <= EXACT_LIMIT:
        size, offsets = _Search(problem, size, offsets, nodes).run()
    return size, offsets


_ORDERS: tuple[Callable[[Buffer], tuple[int, ...]], ...] = (
    lambda b: (-b.size, b.first),
    lambda b: (-b.size * (b.last - b.first + 1), b.first),
    lambda b: (-(b.last - b.first), -b.size),
    lambda b: (b.first, -b.size),
)


def _key(
    buffers: Sequence[Buffer], rule: Callable[[Buffer], tuple[int, ...]]
) -> Callable[[int], tuple[int, ...]]:
    return lambda index: (*rule(buffers[index]), index)


def _fit(problem: _Problem, order: Sequence[int]) -> list[int]:
    """Place buffers one after the other at the lowest offset that is free."""
    offsets = [-1] * len(problem.buffers)
    for index in order:
        taken = sorted(
            (offsets[j] + low, offsets[j] + high)
            for j, low, high in problem.conflicts[index]
            if offsets[j] >= 0
        )
        at = 0
        for low, high in taken:
            if at <= low:
                break
            at = max(at, high)
        offsets[index] = at
    return offsets


def _improve(
    problem: _Problem, order: list[int], start: tuple[int, list[int]], rounds: int
) -> tuple[int, list[int]]:
    """Move the topmost buffer forward in the order, ever further, while that does no harm."""
    size, offsets = start
    for step in range(rounds):
        if size <= problem.bound:
            break
        top = max(order, key=lambda i: (offsets[i] + problem.buffers[i].size, i))
        position = order.index(top)
        to = position * (step % 7) // 8
        trial = [top if i == to else -1 for i in range(len(order))]
        rest = iter([i for i in order if i != top])
        trial = [next(rest) if i < 0 else i for i in trial]
        placed = _fit(problem, trial)
        end = problem.end(placed)
        if end <= size:
            order, size, offsets = trial, end, placed
    return size, offsets


class _Search:
    """Branch and bound: buffers are placed in the order of their offsets."""

    def __init__(self, problem: _Problem, size: int, offsets: list[int], nodes: int) -> None:
        self.problem, self.size, self.offsets, self.nodes = problem, size, offsets, nodes
        self.order = sorted(
            range(len(offsets)), key=lambda i: (-problem.padded[i], problem.buffers[i].first, i)
        )

    def run(self) -> tuple[int, list[int]]:
        """Return the best packing found before the nodes ran out."""
        count = len(self.offsets)
        self._extend([0] * count, [False] * count, 0, count)
        return self.size, self.offsets

    def _extend(self, floor: list[int], placed: list[bool], last: int, left: int) -> None:
        """Place one more buffer.

        Args:
            floor: Lowest offset of each buffer (the offset itself where placed).
            placed: Which buffers are placed.
            last: Offset of the buffer placed last; later ones are not below it.
            left: How many are not placed.
        """
        self.nodes -= 1
        if left == 0:
            self.size, self.offsets = self.problem.end(floor), list(floor)
            return
        for index in self._choices(floor, placed, last):
            if self.nodes <= 0 or self.size <= self.problem.bound:
                return
            at = max(floor[index], last)
            lifted = list(floor)
            lifted[index] = at
            for j, below, _ in self.problem.conflicts[index]:
                if not placed[j]:
                    lifted[j] = max(lifted[j], at - below)
            if self._is_hopeful(lifted, placed, at):
                placed[index] = True
                self._extend(lifted, placed, at, left - 1)
                placed[index] = False

    def _choices(self, floor: list[int], placed: list[bool], last: int) -> list[int]:
        """Return unplaced buffers that fit under the best size, lowest offset first.

        A buffer that starts where another one would already end is no choice yet: placing the other
        first leaves no more room, so one of the lower ones comes first.
        """
        free = [i for i in self.order if not placed[i]]
        at = {i: max(floor[i], last) for i in free}
        horizon = min(at[i] + max(self.problem.padded[i], 1) for i in free)
        return sorted((i for i in free if at[i] < horizon), key=at.__getitem__)

    def _is_hopeful(self, floor: list[int], placed: list[bool], last: int) -> bool:
        """Whether every unplaced buffer can still end below the best size."""
        return all(
            placed[i] or max(low, last) + self.problem.buffers[i].size < self.size
            for i, low in enumerate(floor)
        )
