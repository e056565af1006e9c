"""What a pass is, what it is given, and how a list of passes is run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from quantable.ir import Decision, Graph, Level, Operation, OptionError, StageRecord, graph_digest
from quantable.ir.hashing import with_history
from quantable.passes.instruments.change_detection import ChangeDetection
from quantable.passes.instruments.instrument import Instrument, Step
from quantable.passes.instruments.verification import Verification
from quantable.passes.rewrite_limit import Rewrites
from quantable.text.spelling import option_text

if TYPE_CHECKING:
    from quantable.ir import Profile
    from quantable.passes.laboratory import Checkpoint, Judge, Laboratory
    from quantable.targets.description import Target

Array = npt.NDArray[np.generic]
TOOL_VERSION = "0.1.0"


class Executor(Protocol):
    """What a pass may ask of a runtime; the driver hands in the reference runtime."""

    def run_operation(
        self, operation: Operation, inputs: Sequence[Array | None]
    ) -> tuple[Array, ...]:
        """Execute one float operation on constant inputs (None where an input is absent)."""
        ...


@dataclass
class PassContext:
    """What a pass is given besides the graph.

    Attributes:
        executor: Runs float operations; None where no runtime was handed in.
        target: The target's description, once one is chosen.
        profile: Calibration statistics, for the calibrate phase.
        remarks: (pass, place, what was done or declined and why), appended by passes.
        rewrites: Counts what passes do, and stops them at a limit.
        laboratory: Runs and trains graphs on the calibration samples, for passes that need data.
        judge: Measures what quantization would cost a float graph, for passes that rewrite one.
        checkpoint: Where a long pass keeps what is done, so that a stopped one goes on from there.
        decisions: What the pass at hand tried, accepted and refused; goes into its record.
    """

    executor: Executor | None = None
    target: Target | None = None
    profile: Profile | None = None
    remarks: list[tuple[str, str, str]] = field(default_factory=list)
    rewrites: Rewrites = field(default_factory=Rewrites)
    laboratory: Laboratory | None = None
    judge: Judge | None = None
    checkpoint: Checkpoint | None = None
    decisions: list[Decision] = field(default_factory=list)


@dataclass(frozen=True)
class Pass(ABC):
    """A pure function (graph, context) -> graph with a name, a version and options.

    Options are the fields of the dataclass: int, float, bool, str, or a tuple of these.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    summary: ClassVar[str]
    levels: ClassVar[frozenset[Level]] = frozenset({Level.FLOAT})

    def check(self) -> None:  # noqa: B027 # most passes take any value of an option's type
        """Refuse options that no graph can be given; asked before any work.

        Raises:
            OptionError, UnknownNameError: Says which.
        """

    @abstractmethod
    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Return the transformed graph; the same object where nothing changes."""

    def data_digest(self, context: PassContext) -> str:
        """Return the digest of what the pass reads from the context besides the graph."""
        del context
        return ""

    def options(self) -> str:
        """Return the options in the pipeline language, defaults omitted: ``{a=1 b="x"}``."""
        given = [
            f"{f.name.replace('_', '-')}={option_text(getattr(self, f.name))}"
            for f in fields(self)
            if option_text(getattr(self, f.name)) != option_text(f.default)  # -0.0 is not 0.0
        ]
        return f"{{{' '.join(given)}}}" if given else ""


CHECKS: tuple[Instrument, ...] = (ChangeDetection(), Verification())
"""What watches every pass unless instruments are given."""


def run_pass(
    graph: Graph, item: Pass, context: PassContext, instruments: Sequence[Instrument] = CHECKS
) -> Graph:
    """Run one pass under instruments, and append its record. Nothing else runs passes.

    Args:
        graph: What the pass is given.
        item: The pass.
        context: What it is given besides.
        instruments: See `Instrument`; with `CHECKS` the result is verified.

    Raises:
        OptionError: The pass does not take the graph's level.
        InvariantError: The pass made a graph that breaks an invariant.
        InternalError: The pass changed the graph that it was given.
    """
    if graph.level not in item.levels:
        levels = " or ".join(sorted(level.value for level in item.levels))
        raise OptionError(
            f"pass '{item.name}': expected a graph of level {levels}, found {graph.level.value}",
            help="see the order of the stages: quantable list stages",
        )
    item.check()
    step = Step(item, graph, context)
    context.decisions.clear()
    if not all(instrument.should_run(step) for instrument in instruments):
        return graph
    for instrument in instruments:
        instrument.before(step)
    try:
        result = item.run(graph, context)
        for instrument in reversed(instruments):
            instrument.after(step, result)
        return recorded(step, result)
    except Exception as error:
        for instrument in reversed(instruments):
            instrument.failed(step, error)
        raise


def recorded(step: Step, result: Graph) -> Graph:
    """Return what a pass made, with the record of it appended to the history."""
    item, given = step.item, step.graph
    record = StageRecord(
        item.name, item.version, item.options(), graph_digest(given), graph_digest(result),
        item.data_digest(step.context), TOOL_VERSION, tuple(step.context.decisions),
    )  # fmt: skip
    return with_history(result, (*given.history, record))


def run_passes(
    graph: Graph,
    items: Iterable[Pass],
    context: PassContext,
    instruments: Sequence[Instrument] = CHECKS,
) -> Graph:
    """Run passes in order; see `run_pass`."""
    for item in items:
        graph = run_pass(graph, item, context, instruments)
    return graph
