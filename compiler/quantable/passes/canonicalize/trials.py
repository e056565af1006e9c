"""Rewrites that are kept only if the judge finds the quantized network better with them."""

from __future__ import annotations

import math
from collections.abc import Callable

from quantable.ir import DataError, Decision, Graph
from quantable.passes.base import PassContext
from quantable.passes.laboratory import Judge

MEASURE = "noise of the quantized outputs on held-out samples"


class Trials:
    """A float graph that only ever gets better.

    Args:
        graph: What to begin with; leaving it alone is always a candidate.
        context: Holds the judge; decisions go into it.
        name: The pass that tries.
        needed_gain: Part of the error by which it has to fall.

    Attributes:
        graph: The best graph so far.
        error: Its judgement.
    """

    def __init__(
        self, graph: Graph, context: PassContext, name: str, needed_gain: float = 0.0
    ) -> None:
        self._judge = needed_judge(context, name)
        self._context, self._gain = context, needed_gain
        self.graph, self.error = graph, self._judge(graph)

    def offer(self, candidate: Graph, subject: tuple[str, ...], tried: str) -> bool:
        """Judge a candidate, and keep it if it is better.

        Args:
            candidate: A graph with the same inputs and outputs.
            subject: Names of the operations that it changes.
            tried: What was done, in words.
        """
        if candidate is self.graph or self._context.rewrites.is_exhausted:
            return False
        found = self._judge(candidate)
        limit = self.error * (1.0 - self._gain)
        is_better = math.isfinite(found) and (found < limit or not math.isfinite(self.error))
        is_better = is_better and self._context.rewrites.admit(*subject)
        reason = (
            ""
            if is_better
            else "the error does not fall" + (f" by {self._gain:.0%}" if self._gain else "")
        )
        self._context.decisions.append(
            Decision(subject, tried, MEASURE, self.error, found, is_better, reason)
        )
        if is_better:
            self.graph, self.error = candidate, found
        return is_better

    def offer_best(
        self, candidates: list[tuple[str, Callable[[], Graph]]], subject: tuple[str, ...]
    ) -> str:
        """Offer candidates, each against the best so far, all made of the present graph.

        Returns:
            What the one that was kept is called, '' where none was.
        """
        kept = ""
        for tried, make in candidates:
            if self.offer(make(), subject, tried):
                kept = tried
        return kept


def needed_judge(context: PassContext, name: str) -> Judge:
    """Return the judge of a context.

    Raises:
        DataError: None was handed in.
    """
    if context.judge is None:
        raise DataError(
            f"pass '{name}' rewrites the float network for a target: it needs calibration samples "
            "and a target to judge with, found none",
            help="give them with --data and --target (quantable opt), or --calibration and "
            "--target (quantable compile)",
        )
    return context.judge
