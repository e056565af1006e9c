"""The graphs that a bisection judges: after so many passes, after so many rewrites of a pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from quantable.ir import Graph, UserError, graph_digest, verify
from quantable.passes.base import Pass, PassContext, run_pass, run_passes
from quantable.passes.rewrite_limit import Rewrite, Rewrites

Judge = Callable[[Graph], bool | None]
"""True for good, False for bad, None where it cannot judge."""


@dataclass(frozen=True)
class Candidate:
    """A graph to judge.

    Attributes:
        graph: None where what makes it failed.
        failure: What the pass, or a check after it, said then.
    """

    graph: Graph | None
    failure: str = ""


@dataclass(frozen=True)
class PassRun:
    """One pass of the whole run.

    Attributes:
        item: The pass.
        before: What it was given.
        after: What it made.
        rewrites: What it did.
    """

    item: Pass
    before: Graph
    after: Candidate
    rewrites: tuple[Rewrite, ...]


@dataclass(frozen=True)
class Runs:
    """The passes that ran.

    Attributes:
        done: In order; the last may have failed.
        refusal: Why the next one would not run. What is wrong may be the graph that it was given:
            that is for the oracle to say.
    """

    done: tuple[PassRun, ...]
    refusal: UserError | None = None


def run_all(graph: Graph, passes: Sequence[Pass], context: PassContext) -> Runs:
    """Run passes in order, up to the first that fails or refuses."""
    runs: list[PassRun] = []
    for item in passes:
        fresh = replace(context, remarks=[], rewrites=Rewrites())
        try:
            made = _attempt(partial(run_pass, graph, item, fresh))
        except UserError as error:
            return Runs(tuple(runs), error)
        runs.append(PassRun(item, graph, made, tuple(fresh.rewrites.done)))
        if made.graph is None:
            break
        graph = made.graph
    return Runs(tuple(runs))


def run_limited(run: PassRun, context: PassContext, limit: int) -> Candidate:
    """Run one pass and stop it after so many rewrites.

    The result has no record of the pass in its history: it is not what the pass makes.

    Raises:
        UserError: The pass cannot do with so little.
    """
    fresh = replace(context, remarks=[], rewrites=Rewrites(limit))

    def attempt() -> Graph:
        result = run.item.run(run.before, fresh)
        verify(result, after=run.item.name)
        return result

    return _attempt(attempt)


def _attempt(make: Callable[[], Graph]) -> Candidate:
    try:
        return Candidate(make())
    except UserError:
        raise
    except Exception as error:
        return Candidate(None, f"{type(error).__name__}: {error}")


class Judgement:
    """Judges candidates; equal graphs are judged once.

    Args:
        judge: The oracle.
        then: Passes that run before the oracle looks.
        context: For those.
    """

    def __init__(self, judge: Judge, then: Sequence[Pass], context: PassContext) -> None:
        self._judge, self._then, self._context = judge, tuple(then), context
        self._known: dict[str, bool | None] = {}

    @property
    def calls(self) -> int:
        """How many graphs were judged."""
        return len(self._known)

    def of(self, candidate: Candidate) -> bool | None:
        """Return True for good, False for bad (a failure is), None for what cannot be judged."""
        if candidate.graph is None:
            return False
        digest = graph_digest(candidate.graph)
        if digest not in self._known:
            self._known[digest] = self._judged(candidate.graph)
        return self._known[digest]

    def _judged(self, graph: Graph) -> bool | None:
        fresh = replace(self._context, remarks=[], rewrites=Rewrites())
        try:
            finished = _attempt(lambda: run_passes(graph, self._then, fresh))
        except UserError:
            return None
        return False if finished.graph is None else self._judge(finished.graph)
