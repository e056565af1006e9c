"""The scales that balance the weights on both sides of channels, within what bounds allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from quantable.ir import Graph, GraphEditor
from quantable.passes.canonicalize.channel_groups import (
    ChannelGroup,
    LayerSizes,
    layers_of,
    upper_bound,
)
from quantable.passes.canonicalize.channel_ranges import ChannelRange
from quantable.passes.canonicalize.rewriting import Float64

_SETTLED = 1e-4


@dataclass(frozen=True)
class Balance:
    """What counts as the size of a channel, and how far it may be moved.

    Attributes:
        iterations: Most times that every group is balanced.
        bias: How much of a bias counts as a weight of its channel.
        activation: How much of a channel's largest activation does.
        threshold: Channels whose weights on both sides are smaller keep their range.
        limit: Largest scale, and inverse of the smallest.
        keeps_bounds: Whether a channel that reaches a bound on the samples keeps its range, and
            none is moved to where it would.
        headroom: How often a channel's largest value has to fit below a bound.
        depthwise: How much a depthwise layer is favoured over the other one, 0 to 1: nine weights
            make one channel there, and nothing averages their errors.
    """

    iterations: int = 40
    bias: float = 0.0
    activation: float = 0.0
    threshold: float = 0.0
    limit: float = 1000.0
    keeps_bounds: bool = True
    headroom: float = 1.0
    depthwise: float = 0.0


def balanced_scales(
    graph: Graph,
    groups: Sequence[ChannelGroup],
    ranges: Mapping[str, ChannelRange],
    balance: Balance,
) -> list[Float64]:
    """Return what the channels of each group are to be divided by; float32 numbers.

    Args:
        graph: The graph of the groups.
        groups: All groups at once: a layer that is the second of one and the first of the next is
            balanced in turn until nothing moves.
        ranges: Of the values between, where activations count or bounds are kept.
        balance: The options.
    """
    sizes = {name: LayerSizes.of(graph, op) for name, op in layers_of(groups).items()}
    counts = [sizes[group.firsts[0].name].made().size for group in groups]
    limits = [
        scale_limits(graph, group, ranges, balance, count)
        for group, count in zip(groups, counts, strict=True)
    ]
    activations = [_activations(group, ranges, balance) for group in groups]
    leans = [_lean(group, balance) for group in groups]
    totals = [np.ones(len(low)) for low, _ in limits]
    for _ in range(balance.iterations):
        moved = 0.0
        for number, group in enumerate(groups):
            made, read = _sides(group, sizes, balance, activations[number] / totals[number])
            step = _step(made, read, leans[number], limits[number], balance.threshold)
            total = np.clip(totals[number] * step, *limits[number])
            step = total / totals[number]
            for op in group.firsts:
                sizes[op.name].scale_made(1.0 / step)
            for op in group.seconds:
                sizes[op.name].scale_read(step)
            totals[number] = total
            moved = max(moved, float(np.abs(np.log(step)).max(initial=0.0)))
        if moved < _SETTLED:
            break
    return [total.astype(np.float32).astype(np.float64) for total in totals]


def _step(
    made: Float64,
    read: Float64,
    lean: float,
    limits: tuple[Float64, Float64],
    threshold: float,
) -> Float64:
    """Return what balances the channels of one group at this moment.

    Channels that may not move say what the others have to fit: their mean step is 1.
    """
    is_alive = (made > 0) & (read > 0) & (np.maximum(made, read) >= threshold)
    step = np.ones_like(made)
    step[is_alive] = made[is_alive] ** (1.0 - lean) / read[is_alive] ** lean
    is_fixed = is_alive & (limits[0] == limits[1])
    if is_fixed.any():
        step[is_alive] /= np.exp(np.mean(np.log(step[is_fixed])))
    return step


def _lean(group: ChannelGroup, balance: Balance) -> float:
    """Return 0.5 where both sides count the same, 1 where only those that read do."""
    firsts, seconds = (
        all(op.int_attribute("group", 1) > 1 for op in ops) for ops in (group.firsts, group.seconds)
    )
    return 0.5 + 0.5 * balance.depthwise * (seconds - firsts)


def _sides(
    group: ChannelGroup, sizes: Mapping[str, LayerSizes], balance: Balance, activation: Float64
) -> tuple[Float64, Float64]:
    """Return the sizes of the channels where they are made and where they are read."""
    firsts = [sizes[op.name] for op in group.firsts]
    made = np.max([layer.made() for layer in firsts], axis=0)
    bias = np.max([layer.bias for layer in firsts], axis=0)
    # A channel without weights has no range to give: what else counts must not move it.
    made = np.where(made > 0, np.maximum.reduce([made, balance.bias * bias, activation]), 0.0)
    read = np.max([sizes[op.name].read() for op in group.seconds], axis=0)
    return made, read


def _activations(
    group: ChannelGroup, ranges: Mapping[str, ChannelRange], balance: Balance
) -> Float64:
    """Return how large the channels are between the layers, as far as it counts."""
    if not balance.activation:
        return np.zeros(1)
    found = [ranges[name].largest for name in group.values if name in ranges]
    return balance.activation * np.max(found, axis=0) if found else np.zeros(1)


def scale_limits(
    graph: Graph,
    group: ChannelGroup,
    ranges: Mapping[str, ChannelRange],
    balance: Balance,
    count: int,
) -> tuple[Float64, Float64]:
    """Return the smallest and the largest scale of each of `count` channels.

    Args:
        graph, group: Where they are.
        ranges: Of what the bounds of the group are given.
        balance: The options.
        count: Number of channels.
    """
    low, high = np.full(count, 1.0 / balance.limit), np.full(count, balance.limit)
    if not balance.keeps_bounds:
        return low, high
    editor = GraphEditor(graph)
    for op in group.bounds:
        bound, reached = upper_bound(editor, op), ranges[op.inputs[0]].high
        assert bound is not None
        is_bounded = reached * balance.headroom > bound
        low = np.maximum(low, np.clip(reached * balance.headroom / bound, 0.0, 1.0))
        low, high = np.where(is_bounded, 1.0, low), np.where(is_bounded, 1.0, high)
    return low, high
