"""What all passes do that fit blocks by gradients: walk, fit, judge, decide, remember."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from quantable.ir import Decision, Graph, OptionError, graph_digest
from quantable.passes.base import Pass, PassContext
from quantable.passes.laboratory import (
    FitTask,
    Fitted,
    Laboratory,
    fitting_samples,
    held_out_samples,
    needed_laboratory,
)
from quantable.passes.subgraph import subgraph
from quantable.passes.tune.block_walk import BlockValues, BlockWalk
from quantable.passes.tune.outcome import Outcome, changed
from quantable.passes.tune.trainable import overflowing_bias, untrainable

Array = npt.NDArray[np.generic]
Prepare = Callable[[Graph, Graph], FitTask]
"""Returns what to fit of a part of a graph (whole graph, part); feeds and targets come later."""
MEASURE = "noise of the block's outputs on held-out samples"
_RISE = 1.1
"""By what a block may raise the noise of the network: most often later ones make up for it."""


def with_fitted_blocks(
    graph: Graph,
    context: PassContext,
    item: Pass,
    blocks: Sequence[Sequence[str]],
    prepare: Prepare,
    auxiliary: Sequence[str],
) -> Graph:
    """Return a graph with block after block fitted, each on the tuned network before it.

    What was found for a block is accepted if, hardened, it lowers the noise of the block's outputs
    on held-out samples, and hardly raises that of the network's. In the end as many blocks, from
    the first on, keep it as leave the least noise of the network, less than there was. Each block's
    outcome is kept in the context's checkpoint, if there is one.

    Args:
        graph: A calibrated graph.
        context: Its laboratory runs and fits.
        item: The pass.
        blocks: Names of the operations of each block.
        prepare: Says what to fit.
        auxiliary: Values inside blocks that are fitted to float ones too, but do not judge.
    """
    laboratory = needed_laboratory(context, item.name)
    context.remarks += [(item.name, place, reason) for place, reason in untrainable(graph)]
    key = _key(graph, item, laboratory)
    trial = _Trial(BlockWalk(graph, laboratory, blocks), laboratory, auxiliary, item.name)
    outcomes = []
    for index, names in enumerate(blocks):
        part = subgraph(trial.walk.graph, set(names))
        task = replace(prepare(trial.walk.graph, part), graph=part, stream=index)
        if not (task.weights or task.scales or task.biases):
            continue
        outcome = _remembered(context, f"{key}-{index}")
        if outcome is None:
            outcome = trial.of(index, task)
            if context.checkpoint is not None:
                context.checkpoint.store(f"{key}-{index}", outcome.arrays())
        trial.take(outcome)
        outcomes.append(outcome)
    return _settled(graph, context, item.name, trial.before, outcomes)


def _settled(
    graph: Graph, context: PassContext, name: str, before: float, outcomes: Sequence[Outcome]
) -> Graph:
    """Return the graph with the accepted blocks up to the one with the least noise of the network.

    Args:
        graph: The graph that the pass was given.
        context: Decisions go there.
        name: Of the pass.
        before: Noise of the network's outputs with that graph.
        outcomes: Of all blocks, in order.
    """
    levels = [before, *(o.network for o in outcomes if o.decision.is_accepted)]
    least = levels.index(min(levels))
    kept = 0
    for outcome in outcomes:
        decision = outcome.decision
        if decision.is_accepted and kept == least:
            why = f"taken back: the noise of the network was {levels[least]:.4g} without"
            decision = replace(decision, is_accepted=False, reason=why)
        if decision.is_accepted:
            if not context.rewrites.admit(*decision.subject):
                break
            kept += 1
            graph = outcome.put_into(graph, name)
        context.decisions.append(decision)
    return graph


def check_schedule(block_size: int, steps: int, batch: int, seed: int) -> None:
    """Refuse options that no fit can be given.

    Raises:
        OptionError: Says which.
    """
    for name, found in (("block-size", block_size), ("steps", steps), ("batch", batch)):
        if found < 1:
            raise OptionError(f"{name}: expected at least 1, found {found}")
    if not 0 <= seed < 1 << 63:
        raise OptionError(f"seed: expected at least 0, below 2**63, found {seed}")


def check_rates(rates: Mapping[str, float]) -> None:
    """Refuse learning rates that are no finite numbers of at least 0.

    Raises:
        OptionError: Says which.
    """
    for name, found in rates.items():
        if not (math.isfinite(found) and found >= 0):
            raise OptionError(f"{name}: expected a finite number of at least 0, found {found:g}")


class _Trial:
    """Fits blocks, and judges what was found.

    Attributes:
        walk: The walk, with the graph as it is by now.
        before: Noise of the network's outputs at first.
    """

    def __init__(
        self, walk: BlockWalk, laboratory: Laboratory, auxiliary: Sequence[str], name: str
    ) -> None:
        self.walk, self._laboratory, self._auxiliary, self._name = walk, laboratory, auxiliary, name
        self._judging = held_out_samples(laboratory.count)
        names = [n for n in walk.graph.outputs if walk.graph.values[n].is_real]
        self._targets = laboratory.values(walk.graph.dequantized(), names, self._judging)
        self.before = self._least = self._noise(walk.graph)

    def of(self, index: int, task: FitTask) -> Outcome:
        """Return what fitting a block gives."""
        borders, part = self.walk.values(index), task.graph
        judged = {n: a for n, a in borders.targets.items() if part.values[n].is_real}
        mixed = {
            name: array for name, array in borders.originals.items()
            if task.drop and part.values[name].is_real
        }  # fmt: skip
        fitting = fitting_samples(self._laboratory.count)
        found = self._laboratory.fit(replace(
            task, feeds=borders.feeds, originals=mixed, samples=fitting,
            targets={**self._inside(part, borders), **judged},
        ))  # fmt: skip
        feeds, targets = (
            {name: np.asarray(array[self._judging]) for name, array in held.items()}
            for held in (borders.feeds, judged)
        )

        def error(graph: Graph) -> float:
            noise = self._laboratory.noise(graph, targets, self._judging, feeds)
            return float(sum(noise.values()))

        before = error(part)
        if found.failure:
            refused = Decision(_layers(task), "fit", MEASURE, before, before, False, found.failure)
            return Outcome(refused)
        return self._judged(task, found, before, error)

    def take(self, outcome: Outcome) -> None:
        """Go on with what was found, if it is accepted."""
        if outcome.decision.is_accepted:
            self.walk.graph = outcome.put_into(self.walk.graph, self._name)
            self._least = min(self._least, outcome.network)

    def _inside(self, part: Graph, borders: BlockValues) -> Mapping[str, Array]:
        """Return the float values inside a block that are fitted too."""
        names = [name for name in self._auxiliary if name in part.producers]
        if not names:
            return {}
        samples = range(self._laboratory.count)
        return self._laboratory.values(part.dequantized(), names, samples, borders.originals)

    def _judged(
        self, task: FitTask, found: Fitted, before: float, error: Callable[[Graph], float]
    ) -> Outcome:
        """Return what was found with the decision about it."""
        part = task.graph
        hardened = changed(part, found.contents, found.scales, "")
        after, why, network = error(hardened), "", math.nan
        bias = overflowing_bias(hardened, part)
        if bias:
            why = f"bias '{bias}' has no room in its integers"
        elif not after < before:
            why = "the error does not fall on held-out samples"
        else:
            network = self._noise(changed(self.walk.graph, found.contents, found.scales, ""))
            if not network <= _RISE * self._least:
                why = f"the noise of the network rises, {self._least:.4g} to {network:.4g}"
        tried = f"{_what(task)} fitted in {task.steps} steps, loss %.4g to %.4g" % found.losses
        decision = Decision(_layers(task), tried, MEASURE, before, after, not why, why)
        if why:
            return Outcome(decision)
        return Outcome(decision, found.contents, found.scales, network)

    def _noise(self, graph: Graph) -> float:
        """Return the noise of the network's outputs on held-out samples."""
        return float(sum(self._laboratory.noise(graph, self._targets, self._judging).values()))


def _what(task: FitTask) -> str:
    counts = {
        "weights": sum(kind != "fixed" for kind in task.weights.values()),
        "rows of scales": len(task.scales),
        "biases": len(task.biases),
    }
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _layers(task: FitTask) -> tuple[str, ...]:
    """Return the operations that a task changes, in the order of the graph."""
    changed_keys = {key[0] for key in (*task.weights, *task.biases)}
    for op in task.graph.quantable_operations:
        if any(config.row in task.scales for _, _, config in op.config.slots()):
            changed_keys.add(op.name)
    return tuple(op.name for op in task.graph.operations if op.name in changed_keys)


def _key(graph: Graph, item: Pass, laboratory: Laboratory) -> str:
    text = "\0".join(
        [graph_digest(graph), item.name, str(item.version), item.options(), laboratory.digest]
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _remembered(context: PassContext, key: str) -> Outcome | None:
    arrays = context.checkpoint.load(key) if context.checkpoint is not None else None
    return None if arrays is None else Outcome.of(arrays)
