"""What passes are given with a graph: the one place that makes it."""

from __future__ import annotations

from quantable.driver.runtime import LazyExecutor
from quantable.ir import Graph, Profile
from quantable.passes.base import PassContext
from quantable.passes.laboratory import Laboratory
from quantable.targets.description import Target
from quantable.targets.user_rules import with_user_rules


def context_for(
    graph: Graph,
    target: Target | None = None,
    profile: Profile | None = None,
    remarks: list[tuple[str, str, str]] | None = None,
    *,
    laboratory: Laboratory | None = None,
) -> PassContext:
    """Return the context of passes on a graph, whose user operations target and runtime know."""
    if target is not None:
        target = with_user_rules(target, graph.library)
    said = [] if remarks is None else remarks
    return PassContext(LazyExecutor(graph.library), target, profile, said, laboratory=laboratory)
