"""What a search found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quantable.driver.mixed_precision.budgets import LIMITS, Budget
from quantable.driver.mixed_precision.items import Item
from quantable.driver.mixed_precision.knapsack import Picks
from quantable.targets.description import Target

HUGE = 1e30
"""Stands for infinite noise: a choice that is taken only if nothing else is within the budget."""


@dataclass(frozen=True)
class Assignment:
    """One choice for every item.

    Attributes:
        picks: By item, the number of its choice.
        predicted: Sum of the noises of all choices.
        measured: Noise of the network that is quantized with it.
    """

    picks: Picks
    predicted: float
    measured: float


@dataclass(frozen=True)
class Found:
    """The result of a search.

    Attributes:
        target: What the network is quantized for.
        budget: What it was held to.
        items: What was chosen.
        losses: By item: the noise of each choice alone.
        best: The assignment.
        tried: All that were measured, in order.
        front: By sum that is bounded: assignments from the smallest amount to the least noise, each
            with its amount.
    """

    target: Target
    budget: Budget
    items: tuple[Item, ...]
    losses: tuple[tuple[float, ...], ...]
    best: Assignment
    tried: tuple[Assignment, ...]
    front: dict[str, list[tuple[float, float]]]

    @property
    def entries(self) -> list[str]:
        """Assignments of what differs from what the target gives."""
        chosen = zip(self.items, self.best.picks, strict=True)
        return [item.entry(pick) for item, pick in chosen if pick]

    def facts(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        amounts = {
            name: float(limit.amount(self.items, self.best.picks)) for name, limit in LIMITS.items()
        }
        return {
            "budget": str(self.budget),
            "amounts": amounts,
            "predicted_noise": self.best.predicted,
            "measured_noise": self.best.measured,
            "tried": [{"predicted": t.predicted, "measured": t.measured} for t in self.tried],
            "assignments": self.entries,
            "items": [self._item(number) for number in range(len(self.items))],
            "front": {name: [list(point) for point in points]
                      for name, points in self.front.items()},
        }  # fmt: skip

    def _item(self, number: int) -> dict[str, Any]:
        item, losses = self.items[number], self.losses[number]
        chosen = item.choices[self.best.picks[number]]
        choices = zip(item.choices, losses, strict=True)
        return {
            "slot": item.label, "kind": item.kind, "role": item.role, "elements": item.elements,
            "products": item.products, "scheme": chosen.scheme, "bits": chosen.bits,
            "noise": {c.scheme: loss if loss < HUGE else None
                      for c, loss in choices if len(losses) > 1},
        }  # fmt: skip
