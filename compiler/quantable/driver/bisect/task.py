"""A bisection by the names of things: pipelines as text, targets by name, reproducers as files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quantable.driver.bisect.bisection import Finding, bisect
from quantable.driver.bisect.candidates import Judge
from quantable.driver.context import context_for
from quantable.driver.pipelines import resolve
from quantable.driver.reproduce import Reproduction
from quantable.ir import Graph, Profile
from quantable.passes.base import Pass, PassContext
from quantable.targets.description import load_target


@dataclass(frozen=True)
class BisectTask:
    """What is bisected.

    Attributes:
        graph: Good.
        passes: Make it bad.
        then: Run before the oracle looks.
        context: What passes are given.
    """

    graph: Graph
    passes: tuple[Pass, ...]
    then: tuple[Pass, ...]
    context: PassContext

    def run(self, judge: Judge) -> Finding:
        """Find the pass and the rewrite; see `quantable.driver.bisect.bisection.bisect`."""
        return bisect(self.graph, self.passes, self.context, judge, self.then)


def bisect_task(
    graph: Graph,
    passes: str = "",
    *,
    then: str = "",
    target: str | Path | None = None,
    profile: Profile | None = None,
) -> BisectTask:
    """Return what is bisected.

    Args:
        graph: A good graph, or a reproducer.
        passes: The pipeline; by default that of the reproducer, with its target and profile.
        then: Passes that run before the oracle looks at a graph.
        target: Name or description file; by default the one that the graph or reproducer names.
        profile: Calibration statistics; by default those of the reproducer.

    Raises:
        OptionError: A pipeline cannot be resolved, or there is none.
        UnknownNameError: No pass or target has the name.
    """
    if not passes:
        held = Reproduction.of(graph)
        graph, passes = held.graph, held.pipeline
        target, profile = target or held.target, profile or held.profile
    name = target or graph.target
    context = context_for(graph, load_target(name) if name else None, profile)
    return BisectTask(graph, resolve(passes), resolve(then) if then else (), context)
