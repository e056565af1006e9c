"""Bit widths for every operand under a budget: measure once, choose exactly, then try neighbours.

    from quantable.driver.context import context_for
from quantable.driver.mixed_precision.search import Search

    search = Search(graph, "onnxruntime-w4a4", profile, laboratory, checkpoint)
    found = search.best(Budget.parse("average-bits=5"))
    found.entries        # what `quantable quantize --assign` takes

Noises of single choices are taken to add up. What this leaves out is looked for afterwards: the
best choice is quantized with all of it, and so are the best ones that differ in one operand; the
one with the least measured noise wins, and its neighbours are next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from quantable.driver.context import context_for
from quantable.driver.efforts import pipelines_of
from quantable.driver.judging import evenly
from quantable.driver.mixed_precision.budgets import Budget, Knapsack
from quantable.driver.mixed_precision.found import HUGE, Assignment, Found
from quantable.driver.mixed_precision.items import WIDTHS, Item, items_of
from quantable.driver.mixed_precision.knapsack import Picks, cost_of, front, loss_of, solve
from quantable.driver.mixed_precision.sensitivities import Sensitivities
from quantable.driver.pipelines import resolve, with_dispatch
from quantable.driver.stages import STAGE
from quantable.ir import (
    DataError,
    Graph,
    Level,
    OptionError,
    Profile,
    UnsupportedError,
    graph_digest,
)
from quantable.passes.base import run_passes
from quantable.passes.laboratory import HOLD_OUT, Checkpoint, Laboratory, held_out_samples
from quantable.passes.network_noise import judged_values
from quantable.targets.description import load_target
from quantable.targets.user_rules import with_user_rules

Array = npt.NDArray[np.generic]
Progress = Callable[[str, int, int], None]
"""Told what is done, how much of it, and of how much."""
EFFORT = "balanced"
"""How a whole assignment is calibrated before it is measured."""
SAMPLES = 32
_USUAL_BITS = 8
"""Operands of up to so many bits are legal in all combinations."""


class Search:
    """Looks for bit widths of a network.

    Args:
        graph: A float graph, in the form that is quantized.
        target: Name or description file.
        profile: Its calibration statistics.
        laboratory: Runs graphs on calibration samples.
        checkpoint: Where measurements are kept; None for nowhere.
        samples: How many held-out samples judge, at most.
        widths: Numbers of bits that may be chosen, besides what the target gives; 32 is float.
        progress: Told about each step.

    Raises:
        OptionError: The graph is not a float graph, or an option is out of range.
        DataError: There are too few samples to hold any out.
    """

    def __init__(
        self,
        graph: Graph,
        target: str | Path,
        profile: Profile,
        laboratory: Laboratory,
        checkpoint: Checkpoint | None = None,
        *,
        samples: int = SAMPLES,
        widths: Collection[int] = WIDTHS,
        progress: Progress | None = None,
    ) -> None:
        if graph.level is not Level.FLOAT:
            raise OptionError(
                f"only a float graph can be searched, this one's level is {graph.level.value}",
                help="give the result of: quantable opt --passes canonicalize",
            )
        if samples < 1:
            raise OptionError(f"samples that judge: expected at least 1, found {samples}")
        if laboratory.count < HOLD_OUT:
            raise DataError(
                f"a search judges on held-out samples: expected at least {HOLD_OUT} samples, "
                f"found {laboratory.count}", help="give more; 128 are a good start",
            )  # fmt: skip
        self._graph, self._profile = graph, profile
        self._target = with_user_rules(load_target(target), graph.library)
        self._laboratory, self._samples = laboratory, samples
        self._checkpoint: Checkpoint = checkpoint if checkpoint is not None else _Memory()
        self._tuning = pipelines_of(EFFORT, self._target)["calibrate"]
        self._progress = progress or _untold
        self._judging = evenly(held_out_samples(laboratory.count), samples)
        found = items_of(self.quantized(()), self._target, widths)
        self.items = tuple(self._legal(item) for item in found)
        self._losses: tuple[tuple[float, ...], ...] = ()

    @property
    def losses(self) -> tuple[tuple[float, ...], ...]:
        """By item, the noise of each choice alone; measured when first asked for."""
        if not self._losses:
            found = Sensitivities(
                self._graph,
                self._levels(),
                self.items,
                self._laboratory,
                self._checkpoint,
                self._samples,
            ).measured(lambda done, total: self._progress("measuring", done, total))
            self._losses = tuple(tuple(min(loss, HUGE) for loss in row) for row in found)
        return self._losses

    def best(self, budget: Budget, trials: int = 0) -> Found:
        """Return the best assignment within a budget.

        Args:
            budget: What the assignment is held to.
            trials: How many neighbours are quantized and measured, at most.

        Raises:
            OptionError: No assignment is within the budget.
        """
        self._require(budget)
        start = self._solved(budget)
        assert start is not None  # `_require` saw to it
        best = self.measured(start)
        tried = [best]
        seen = {best.picks}
        while len(tried) <= trials:
            ahead = [n for n in self._neighbours(budget, best) if n not in seen]
            if not ahead:
                break
            seen.add(ahead[0])
            tried.append(self.measured(ahead[0]))
            self._progress("trying neighbours", len(tried) - 1, trials)
            if tried[-1].measured < best.measured:
                best = tried[-1]
        return Found(
            self._target, budget, self.items, self.losses, best, tuple(tried), self._front(budget)
        )

    def quantized(self, entries: Sequence[str], passes: str = "") -> Graph:
        """Return the network quantized with assignments, and calibrated by more passes."""
        context = context_for(self._graph, self._target, self._profile, laboratory=self._laboratory)
        pipeline = with_dispatch(STAGE["quantize"].pipeline, schemes=entries)
        bare = replace(self._graph, history=())
        done = run_passes(bare, resolve(pipeline), context, instruments=())
        return run_passes(done, resolve(passes), context, instruments=()) if passes else done

    def _legal(self, item: Item) -> Item:
        """Return an item without the choices that overflow the target's accumulators."""

        def is_legal(pick: int) -> bool:
            try:
                self.quantized([item.entry(pick)])
            except UnsupportedError:
                return False
            return True

        if not self._target.has_integer_level:
            return item
        numbers = range(1, len(item.choices))
        kept = [p for p in numbers if item.choices[p].bits <= _USUAL_BITS or is_legal(p)]
        return replace(item, choices=tuple(item.choices[p] for p in (0, *kept)))

    def _levels(self) -> list[Graph]:
        """Return calibrated graphs that hold every choice between them."""
        count = max((len(item.choices) for item in self.items), default=0)
        found = []
        for level in range(count):
            picks = (min(level, len(item.choices) - 1) for item in self.items)
            chosen = [(item, pick) for item, pick in zip(self.items, picks, strict=True)]
            found.append(self.quantized([i.entry(p) for i, p in chosen if p], "calibrate"))
        return found

    def measured(self, picks: Picks) -> Assignment:
        """Return an assignment with the noise of the network that is quantized with it."""
        entries = [item.entry(p) for item, p in zip(self.items, picks, strict=True) if p]
        start = graph_digest(self.quantized(entries, "calibrate"))
        key = f"assignment {start} {self._laboratory.digest} {self._judging} {self._tuning}"
        held = self._checkpoint.load(key)
        if held is None:
            held = {"noise": np.array(self._noise(self.quantized(entries, self._tuning)))}
            self._checkpoint.store(key, held)
        return Assignment(picks, self._predicted(picks), float(held["noise"].item()))

    def _predicted(self, picks: Picks) -> float:
        return math.fsum(row[p] for row, p in zip(self.losses, picks, strict=True))

    def _noise(self, graph: Graph) -> float:
        names = judged_values(self._graph)
        targets = self._laboratory.values(self._graph, names, self._judging)
        found = self._laboratory.noise(graph, targets, self._judging)
        return math.fsum(found.values()) / len(found)

    def _require(self, budget: Budget) -> None:
        """Refuse a budget that nothing fits before anything is measured."""
        budget.check(self._target)
        unknown = [[0.0] * len(item.choices) for item in self.items]
        for limit in budget.limits:
            Knapsack.of(limit, budget.value, self.items, unknown)

    def _solved(self, budget: Budget, banned: int | None = None, pick: int = 0) -> Picks | None:
        """Return the best assignment by sums, without one choice of one item.

        Operands that the budget says nothing of are what the target gives.
        """
        picks = [0] * len(self.items)
        for limit in budget.limits:
            knapsack = Knapsack.of(limit, budget.value, self.items, self.losses)
            if banned is not None:
                knapsack = knapsack.without(banned, pick)
            found = solve(knapsack.groups, knapsack.bound)
            if found is None:
                return None
            for meanings, option in zip(knapsack.meanings, found, strict=True):
                for number, chosen in meanings[option].items():
                    picks[number] = chosen
        return tuple(picks)

    def _neighbours(self, budget: Budget, best: Assignment) -> list[Picks]:
        """Return the best assignments that differ in a given operand, the most promising first."""
        roles = {role for limit in budget.limits for role in limit.roles}
        found = [
            self._solved(budget, number, best.picks[number])
            for number, item in enumerate(self.items)
            if item.role in roles and len(item.choices) > 1
        ]
        return sorted((picks for picks in found if picks is not None), key=self._predicted)

    def _front(self, budget: Budget) -> dict[str, list[tuple[float, float]]]:
        """Return by limit (amount, sum of noises) of the corners of its front."""
        found: dict[str, list[tuple[float, float]]] = {}
        for limit in budget.limits:
            knapsack = Knapsack.of(limit, budget.value, self.items, self.losses)
            total = limit.total_of(self.items)
            found[limit.name] = [
                (cost_of(knapsack.groups, picks) / total, loss_of(knapsack.groups, picks))
                for picks in front(knapsack.groups)
            ]
        return found


class _Memory:
    """Keeps measurements for as long as the search lives."""

    def __init__(self) -> None:
        self._held: dict[str, Mapping[str, Array]] = {}

    def load(self, key: str) -> Mapping[str, Array] | None:
        return self._held.get(key)

    def store(self, key: str, arrays: Mapping[str, Array]) -> None:
        self._held[key] = arrays


def _untold(what: str, done: int, total: int) -> None:
    del what, done, total
