"""Rewrites that are kept only if the judge finds the quantized network better with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from quantable.ir import DataError, Decision, Graph
from quantable.passes.base import PassContext
from quantable.passes.laboratory import Judge

MEASURE = "noise of the quantized outputs on held-out samples"


_CERTAIN = 2.0
"""How many times its standard error a gain has to be. A few dozen samples judge, and many rewrites
are tried: of those that make no difference, the best looks good by chance."""


@runtime_checkable
class DiscerningJudge(Protocol):
    """A judge that tells the samples apart."""

    def __call__(self, graph: Graph) -> float:
        """See `Judge`."""
        ...

    def parts(self, graph: Graph) -> Sequence[float]:
        """Return the error of every sample."""
        ...


class Trials:
    """A float graph that only ever gets better, as far as the samples can tell.

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
        reason = self._objection(candidate, found)
        is_better = not reason and self._context.rewrites.admit(*subject)
        self._context.decisions.append(
            Decision(subject, tried, MEASURE, self.error, found, is_better, reason)
        )
        if is_better:
            self.graph, self.error = candidate, found
        return is_better

    def _objection(self, candidate: Graph, found: float) -> str:
        """Return why a candidate is not better, '' where it is."""
        if not math.isfinite(found):
            return "the error is not finite"
        if not math.isfinite(self.error):
            return ""
        if not found < self.error * (1.0 - self._gain):
            return "the error does not fall" + (f" by {self._gain:.0%}" if self._gain else "")
        if isinstance(self._judge, DiscerningJudge):
            before, after = self._judge.parts(self.graph), self._judge.parts(candidate)
            gain, error = _log_gain(before, after)
            if not gain > _CERTAIN * error:
                return f"the samples do not agree: {-gain:+.1%}, give or take {error:.1%}"
        return ""


def _log_gain(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    """Return the mean logarithmic fall of the samples' errors, and its standard error."""
    smallest = np.finfo(np.float64).tiny
    logs = [np.log(np.maximum(np.array(parts), smallest)) for parts in (before, after)]
    falls = logs[0] - logs[1]
    if len(falls) < 2:
        return float(falls.mean()), 0.0
    return float(falls.mean()), float(falls.std(ddof=1) / np.sqrt(len(falls)))


def judged_on(context: PassContext) -> str:
    """Return the digest of the samples that judge, for the record of a pass."""
    return "" if context.laboratory is None else context.laboratory.digest


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
