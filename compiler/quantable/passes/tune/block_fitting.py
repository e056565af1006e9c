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
from quantable.passes.tune.block_walk import BlockWalk
from quantable.passes.tune.outcome import Outcome, changed
from quantable.passes.tune.trainable import overflowing_bias, untrainable

Array = npt.NDArray[np.generic]
Prepare = Callable[[Graph, Graph], FitTask]
"""Returns what to fit of a part of a graph (whole graph, part); feeds and targets come later."""
MEASURE = "noise of the block's outputs on held-out samples"


def with_fitted_blocks(
    graph: Graph,
    context: PassContext,
    item: Pass,
    blocks: Sequence[Sequence[str]],
    prepare: Prepare,
    auxiliary: Sequence[str] = (),
) -> Graph:
    """Return a graph with block after block fitted, each on the tuned network before it.

    What was found for a block is accepted if, hardened, it lowers the noise of the block's outputs
    on held-out samples. Each block's outcome is kept in the context's checkpoint, if there is one.

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
    walk = BlockWalk(graph, laboratory, blocks)
    for index, names in enumerate(blocks):
        part = subgraph(walk.graph, set(names))
        task = replace(prepare(walk.graph, part), graph=part, stream=index)
        if not (task.weights or task.scales or task.biases):
            continue
        outcome = _remembered(context, f"{key}-{index}")
        if outcome is None:
            inside = [name for name in auxiliary if name in part.values]
            outcome = _tried(walk, laboratory, index, task, inside)
            if context.checkpoint is not None:
                context.checkpoint.store(f"{key}-{index}", outcome.arrays())
        if outcome.decision.is_accepted and not context.rewrites.admit(*_layers(task)):
            break
        context.decisions.append(outcome.decision)
        if outcome.decision.is_accepted:
            walk.graph = outcome.put_into(walk.graph, item.name)
    return walk.graph


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


def _tried(
    walk: BlockWalk, laboratory: Laboratory, index: int, task: FitTask, inside: Sequence[str]
) -> Outcome:
    """Return what fitting a block gives."""
    borders, part = walk.values(index), task.graph
    judged = {n: a for n, a in borders.targets.items() if part.values[n].dtype.is_float}
    extra = {}
    if inside:
        everything = range(laboratory.count)
        extra = laboratory.values(part.dequantized(), inside, everything, borders.originals)
    mixed = {
        name: array for name, array in borders.originals.items()
        if task.drop and part.values[name].dtype.is_float
    }  # fmt: skip
    samples = fitting_samples(laboratory.count)
    found = laboratory.fit(replace(
        task, feeds=borders.feeds, originals=mixed, targets={**extra, **judged}, samples=samples
    ))  # fmt: skip
    judge = held_out_samples(laboratory.count)
    targets = {name: _taken(array, judge) for name, array in judged.items()}
    feeds = {name: _taken(array, judge) for name, array in borders.feeds.items()}

    def error(graph: Graph) -> float:
        return float(sum(laboratory.noise(graph, targets, judge, feeds).values()))

    before = error(part)
    if found.failure:
        return Outcome(
            Decision(_layers(task), "fit", MEASURE, before, before, False, found.failure)
        )
    return _judged(task, found, before, error)


def _judged(
    task: FitTask, found: Fitted, before: float, error: Callable[[Graph], float]
) -> Outcome:
    """Return what was found with the decision about it."""
    part = task.graph
    hardened = changed(part, found.contents, found.scales, "")
    after, why = error(hardened), ""
    bias = overflowing_bias(hardened, part)
    if bias:
        why = f"bias '{bias}' has no room in its integers"
    elif not after < before:
        why = "the error does not fall on held-out samples"
    first, last = found.losses
    tried = f"{_what(task)} fitted in {task.steps} steps, loss {first:.4g} to {last:.4g} before hardening"
    decision = Decision(_layers(task), tried, MEASURE, before, after, not why, why)
    return Outcome(decision) if why else Outcome(decision, found.contents, found.scales)


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


def _taken(array: Array, samples: Sequence[int]) -> Array:
    return np.asarray(array[np.asarray(samples, np.int64)])
