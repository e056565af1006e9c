"""What watches passes: one protocol for timing, dumps, checks, reproducers, bisection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from quantable.ir import Graph

if TYPE_CHECKING:
    from quantable.passes.base import Pass, PassContext


@dataclass(frozen=True, slots=True)
class Step:
    """One pass that is about to run, runs, or has run.

    Attributes:
        item: The pass.
        graph: What it is given.
        context: What it is given besides.
    """

    item: Pass
    graph: Graph
    context: PassContext


class Instrument:
    """Hooks around every pass; each does nothing until a subclass says otherwise.

    `before` is called in the order of the list; `after` and `failed` in the reverse order, so that
    an instrument encloses those that come later. An exception from `after` is a failure of the
    pass.
    """

    name: ClassVar[str]

    def should_run(self, step: Step) -> bool:
        """Whether the pass runs at all; one instrument's no is enough, and leaves no record."""
        del step
        return True

    def before(self, step: Step) -> None:
        """Called when the pass is about to run."""

    def after(self, step: Step, result: Graph) -> None:
        """Called with what the pass returned, its record not yet appended."""

    def failed(self, step: Step, error: Exception) -> None:
        """Called when the pass, or a hook after it, raised; the error goes on afterwards."""
