"""Which pass, and which of its rewrites, made a graph bad.

The graph is judged after so many passes, then after so many rewrites of the guilty pass; a binary
search finds the step from good to bad. It asks the oracle some log2(passes) + log2(rewrites)
times. A pass that fails, or leaves a graph that breaks an invariant, is bad without being asked.
See: LLVM's -opt-bisect-limit; git bisect, for what cannot be judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from quantable.driver.bisect.candidates import (
    Candidate,
    Judge,
    Judgement,
    PassRun,
    run_all,
    run_limited,
)
from quantable.ir import Graph, OptionError, UserError
from quantable.passes.base import Pass, PassContext


@dataclass(frozen=True)
class Finding:
    """What a bisection found.

    Attributes:
        run: The guilty pass with what it was given; where some stages cannot be judged, the last
            of the passes that may be guilty.
        position: Its number in the pipeline, from 1.
        suspects: Names of the passes that may be guilty, in order; one, unless the oracle could
            not judge some stages.
        first, last: The rewrites that may be guilty, by number; equal, unless the oracle could not
            judge some. 0 stands for what the pass does besides its rewrites.
        good: The last good graph.
        bad: The first bad graph; without one where the pass fails.
        calls: How many graphs the oracle judged.
    """

    run: PassRun
    position: int
    suspects: tuple[str, ...]
    first: int
    last: int
    good: Graph
    bad: Candidate
    calls: int

    @cached_property
    def operations(self) -> tuple[str, ...]:
        """Names of the operations that the guilty rewrites touched."""
        found = [rewrite for rewrite in self.run.rewrites if self.first <= rewrite.number]
        within = [rewrite for rewrite in found if rewrite.number <= self.last]
        return tuple(dict.fromkeys(name for rewrite in within for name in rewrite.operations))


def bisect(
    graph: Graph,
    passes: Sequence[Pass],
    context: PassContext,
    judge: Judge,
    then: Sequence[Pass] = (),
) -> Finding:
    """Find the pass and the rewrite that make a graph bad.

    Args:
        graph: Good; taken to be so where it cannot be judged.
        passes: Make it bad.
        context: What the passes are given.
        judge: The oracle; deterministic.
        then: Passes that run before the oracle looks at a graph. A graph that they refuse cannot
            be judged, one on which they fail is bad.

    Raises:
        OptionError: The graph is bad from the start, or what the passes make is not bad.
        UserError: A pass refuses its input, and that input is not bad.
    """
    found = run_all(graph, passes, context)
    runs = found.done
    stages = [Candidate(graph), *(run.after for run in runs)]
    judgement = Judgement(judge, then, context)
    if judgement.of(stages[0]) is False:
        raise _unusable("the graph itself", True, False)
    verdict = judgement.of(stages[-1])
    if verdict is not False and found.refusal is not None:
        raise found.refusal
    if verdict is not False:
        raise _unusable("the result of the whole pipeline", False, verdict)
    low, high = _search(0, len(runs), lambda index: judgement.of(stages[index]))
    suspects = tuple(run.item.name for run in runs[low:high])
    run = runs[high - 1]
    if len(suspects) > 1:
        good = stages[low].graph
        assert good is not None
        return Finding(
            run, high, suspects, 0, len(run.rewrites), good, stages[high], judgement.calls
        )  # fmt: skip
    return _in_pass(run, high, context, judgement)


def _in_pass(run: PassRun, position: int, context: PassContext, judgement: Judgement) -> Finding:
    made: dict[int, Candidate] = {len(run.rewrites): run.after}

    def at(limit: int) -> bool | None:
        if limit not in made:
            try:
                made[limit] = run_limited(run, context, limit)
            except UserError:
                return None
        return judgement.of(made[limit])

    # -1 stands for the graph before the pass, which is good.
    low, high = _search(-1, len(run.rewrites), at)
    good = run.before if low < 0 else made[low].graph
    assert good is not None
    names = (run.item.name,)
    return Finding(run, position, names, low + 1, high, good, made[high], judgement.calls)


def _unusable(what: str, expected: bool, verdict: bool | None) -> OptionError:
    words = {True: "good", False: "bad", None: "what cannot be judged"}
    return OptionError(
        f"oracle: expected {what} to be {words[expected]}, found {words[verdict]}",
        help="0 says good, 1 to 127 bad, 125 cannot be judged; try the command by hand",
    )


def _search(good: int, bad: int, at: Callable[[int], bool | None]) -> tuple[int, int]:
    """Return the last good and the first bad number; between them is what cannot be judged."""
    unknown: set[int] = set()
    while True:
        open_ = [number for number in range(good + 1, bad) if number not in unknown]
        if not open_:
            return good, bad
        middle = (good + bad) / 2
        number = min(open_, key=lambda n: (abs(n - middle), n))
        verdict = at(number)
        if verdict is None:
            unknown.add(number)
        elif verdict:
            good = number
        else:
            bad = number
