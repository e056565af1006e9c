"""One option of every group, with the least loss that a limit on the cost allows: exactly.

States, pairs of cost and loss that some choice for the groups so far has, are kept where no other
one is better in both. A state also goes where the Lagrangian bound on the rest shows that it ends
above the best choice that is known. That choice comes from walking down the convex hulls of the
groups, steepest step first, which also gives the front of all limits.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Picks = tuple[int, ...]
"""The number of the option of each group."""
_SLACK = 1e-9
"""Share of the best loss that sums of the bound may be wrong by."""


@dataclass(frozen=True, slots=True)
class Option:
    """What choosing it costs and loses; both at least 0."""

    cost: int
    loss: float


Groups = Sequence[Sequence[Option]]


def least_cost(groups: Groups) -> int:
    """Return what the cheapest options cost together."""
    return sum(min(option.cost for option in group) for group in groups)


def cost_of(groups: Groups, picks: Picks) -> int:
    """Return what a choice costs."""
    return sum(group[pick].cost for group, pick in zip(groups, picks, strict=True))


def loss_of(groups: Groups, picks: Picks) -> float:
    """Return what a choice loses."""
    return sum(group[pick].loss for group, pick in zip(groups, picks, strict=True))


def solve(groups: Groups, limit: int) -> Picks | None:
    """Return the choice of least loss whose cost is within the limit; None where there is none.

    Among equal losses the cheaper choice is taken, among equal costs the option that comes first,
    the last group deciding first.
    """
    if least_cost(groups) > limit:
        return None
    descent = _Descent(groups)
    slope, known = descent.within(limit)
    best = loss_of(groups, known)
    bounds = _bounds(groups, slope)
    cheapest = np.cumsum([0, *(min(o.cost for o in group) for group in groups[::-1])])[::-1]
    costs, losses = np.zeros(1, np.int64), np.zeros(1)
    trail: list[tuple[Counts, Counts]] = []
    for index, group in enumerate(groups):
        costs, losses, number, parent = _extended(costs, losses, group)
        fits = costs + int(cheapest[index + 1]) <= limit
        bound = losses + bounds[index + 1] + slope * (costs - limit)
        kept = fits & (bound <= best + _SLACK * (best + slope * limit))
        kept &= _undominated(losses, kept)
        costs, losses = costs[kept], losses[kept]
        trail.append((number[kept], parent[kept]))
    return _traced(trail, int(losses.argmin()))


def front(groups: Groups) -> list[Picks]:
    """Return choices from the cheapest to the one that loses least, none of them below the others.

    They are the corners of the convex hull of all choices: each loses the least of those that cost
    as much. Between corners, `solve` may find better ones than the line.
    """
    return _Descent(groups).choices()


class _Descent:
    """Walks from the cheapest choice to the best, by the step that gains most for its cost."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups
        hulls = [_hull(group) for group in groups]
        self._start = tuple(hull[0] for hull in hulls)
        steps = [
            (_slope(group[a], group[b]), index, b)
            for index, (group, hull) in enumerate(zip(groups, hulls, strict=True))
            for a, b in itertools.pairwise(hull)
        ]
        self._steps = sorted(steps, key=lambda step: -step[0])

    def choices(self) -> list[Picks]:
        """Return the choices between steps."""
        found = [self._start]
        for _, index, pick in self._steps:
            found.append((*found[-1][:index], pick, *found[-1][index + 1 :]))
        return found

    def within(self, limit: int) -> tuple[float, Picks]:
        """Return the slope of the step that leaves the limit, and a choice within it.

        After that step those are taken that still fit.
        """
        picks, cost, slope = list(self._start), cost_of(self._groups, self._start), 0.0
        left: set[int] = set()
        for step, index, pick in self._steps:
            group = self._groups[index]
            more = group[pick].cost - group[picks[index]].cost
            if index in left or cost + more > limit:
                slope = slope or step
                left.add(index)
                continue
            picks[index] = pick
            cost += more
        return slope, tuple(picks)


def _hull(group: Sequence[Option]) -> list[int]:
    """Return the options on the lower convex hull, from the cheapest to that of least loss."""
    order = sorted(range(len(group)), key=lambda i: (group[i].cost, group[i].loss, i))
    found: list[int] = []
    for i in order:
        if found and group[i].loss >= group[found[-1]].loss:
            continue
        while len(found) > 1:
            a, b = group[found[-2]], group[found[-1]]
            if _slope(a, b) > _slope(b, group[i]):
                break
            found.pop()
        found.append(i)
    return found


def _slope(a: Option, b: Option) -> float:
    return (a.loss - b.loss) / (b.cost - a.cost)


def _bounds(groups: Groups, slope: float) -> Reals:
    """Return for the groups from each one on the least sum of losses and priced costs."""
    least = [min(o.loss + slope * o.cost for o in group) for group in groups]
    found: Reals = np.cumsum([0.0, *least[::-1]])[::-1]
    return found


def _extended(
    costs: Counts, losses: Reals, group: Sequence[Option]
) -> tuple[Counts, Reals, Counts, Counts]:
    """Return every state with every option: costs, losses, options, states; by rising cost."""
    count = len(group)
    more = np.array([option.cost for option in group], np.int64)
    worse = np.array([option.loss for option in group])
    all_costs = (costs[None] + more[:, None]).reshape(-1)
    all_losses = (losses[None] + worse[:, None]).reshape(-1)
    number = np.repeat(np.arange(count), len(costs))
    parent = np.tile(np.arange(len(costs)), count)
    order = np.lexsort((parent, number, all_losses, all_costs))
    return all_costs[order], all_losses[order], number[order], parent[order]


def _undominated(losses: Reals, among: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which states, by rising cost, lose less than all cheaper ones among some."""
    held = np.where(among, losses, np.inf)
    before = np.concatenate([[np.inf], np.minimum.accumulate(held)[:-1]])
    return held < before


def _traced(trail: list[tuple[Counts, Counts]], state: int) -> Picks:
    picks = []
    for number, parent in reversed(trail):
        picks.append(int(number[state]))
        state = int(parent[state])
    return tuple(picks[::-1])
