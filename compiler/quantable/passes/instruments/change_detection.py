"""Checks by digest that a pass is a pure function, whatever it says itself.

A pass says "unchanged" by returning the graph that it was given. Graphs are immutable, but Python
cannot stop a pass from reaching into one: then the digest moves, and the pass is at fault whether
it returned that graph (it lies) or another one (it spoiled the graph of somebody else).
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from quantable.ir import Graph, InternalError, graph_digest
from quantable.passes.instruments.instrument import Instrument, Step


class ChangeDetection(Instrument):
    """Raises an `InternalError` where the graph that a pass was given is another afterwards."""

    name: ClassVar[str] = "change detection"

    def after(self, step: Step, result: Graph) -> None:
        """Compare the digest from before the pass with one computed anew."""
        if _fresh_digest(step.graph) == graph_digest(step.graph):
            return
        fault = "says 'unchanged' and changed" if result is step.graph else "changed"
        raise InternalError(
            f"pass '{step.item.name}' {fault} the graph that it was given",
            help="edit through GraphEditor, or dataclasses.replace; never in place",
        )

    def before(self, step: Step) -> None:
        """Compute the digest, which the graph remembers."""
        graph_digest(step.graph)


def _fresh_digest(graph: Graph) -> str:
    """Return the digest without the one that the graph remembers."""
    return graph_digest(replace(graph))
