"""What all passes do that tune one layer after the other: walk, propose, judge, decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from quantable.ir import Decision, Graph
from quantable.passes.base import PassContext
from quantable.passes.laboratory import (
    Array,
    Laboratory,
    LayerRows,
    SecondMoments,
    fitting_samples,
    held_out_samples,
    needed_laboratory,
)
from quantable.passes.network_noise import decision, judged_values, noise_between
from quantable.passes.tune.error import LayerNoise, with_best_bias
from quantable.passes.tune.layer import Layer, is_quantized, reason, reason_for_scales
from quantable.passes.tune.layer_walk import LayerWalk

FINE = 8
"""From so many bits on a weight's rounding is small beside that of activations."""
WIDE = 640
"""An output with more weights than that is wide."""
ROWS = 4
"""Rows of inputs for each weight of an output that a fit looks at, where roundings are fine."""
ROWS_OF_COARSE = 64
"""The same where they are coarse: few rows mislead a fit that has so many ways to go."""
_WEIGHTS = 1024
"""An output with fewer weights gets as many rows as one with so many."""
_MEANS = 256
"""As many as so many weights need are enough for means."""
MEASURE = "noise of the layer's outputs on held-out samples"


@dataclass(frozen=True, eq=False)
class Proposal:
    """Another form of a layer, and in words what was done."""

    layer: Layer
    tried: str


Propose = Callable[[Layer, SecondMoments], Proposal | None]
"""Returns what to try, fitted on second moments of the fitting samples; None for nothing."""


def tuned(
    graph: Graph,
    context: PassContext,
    name: str,
    steps: Sequence[Propose],
    *,
    changes_scales: bool = True,
    rows: int = 0,
) -> Graph:
    """Return a graph with every layer tuned, in topological order, on the tuned network before it.

    First of all the bias is corrected, so that everything else is judged on its own merits.
    Each proposal is accepted if the error of the layer's outputs falls on held-out samples, and
    all together if that of the network's outputs does.

    Args:
        graph: A calibrated graph.
        context: Its laboratory runs the network.
        name: Name of the pass.
        steps: What else to try with every layer, one after the other.
        changes_scales: Whether a layer is left alone whose scales have to stay.
        rows: How many rows of inputs a fit looks at, for each weight of an output; 0 chooses by
            the number of bits.
    """
    laboratory = needed_laboratory(context, name)
    layers = _layers(graph, context, name, changes_scales)
    if not layers:
        return graph
    walk = LayerWalk(graph, laboratory, judged_values(graph))
    # Sums of a product may come in another order with another number of threads.
    with threadpool_limits(limits=1, user_api="blas"):
        for layer_name, quantized, original in walk.inputs_of(layers):
            op = next(op for op in walk.graph.quantable_operations if op.name == layer_name)
            layer = Layer.of(walk.graph, op)
            inputs = _inputs(walk.graph, laboratory, layer, (quantized, original), rows)
            chosen = () if _is_wide(layer) else steps
            walk.graph = _tried(walk.graph, context, layer, chosen, inputs)
    if walk.graph is graph:
        return graph
    whole = _whole(graph, walk, laboratory)
    context.decisions.append(whole)
    return walk.graph if whole.is_accepted else graph


def _is_wide(layer: Layer) -> bool:
    """Whether the bias is all there is to tune.

    Roundings that are many and small even out, and matrices of all inputs would take most of the
    time and the memory of a network.
    """
    return layer.config.bits >= FINE and layer.original.shape[2] > WIDE


def _inputs(
    graph: Graph, laboratory: Laboratory, layer: Layer, values: tuple[Array, Array], rows: int
) -> tuple[SecondMoments, LayerRows]:
    """Return what a layer is fitted on, and what it is judged on."""
    is_wide, name = _is_wide(layer), layer.op.name
    density = rows or (ROWS if layer.config.bits >= FINE else ROWS_OF_COARSE)
    counted = _MEANS if is_wide else max(_WEIGHTS, layer.original.shape[2])
    fit = laboratory.second_moments(
        graph, name, *values, fitting_samples(laboratory.count),
        rows=density * counted, sums_only=is_wide,
    )  # fmt: skip
    return fit, laboratory.layer_rows(graph, name, *values, held_out_samples(laboratory.count))


def _whole(graph: Graph, walk: LayerWalk, laboratory: Laboratory) -> Decision:
    """Return the decision about all layers; the walk has run both networks to their ends."""
    held_out = held_out_samples(laboratory.count)
    found, wanted = ({n: a[held_out] for n, a in ends.items()} for ends in walk.reached)
    before = laboratory.noise(graph, wanted, held_out)
    errors = sum(before.values()) / len(before), noise_between(found, wanted)
    return decision(graph, walk.graph, errors, "all that was accepted, together")


def corrected_bias(layer: Layer, moments: SecondMoments) -> Proposal | None:
    """Return the layer with the bias that suits the means of its outputs."""
    found = with_best_bias(layer, moments)
    change = found.bias - layer.bias
    if not change.any():
        return None
    return Proposal(found, f"bias changed by up to {float(np.abs(change).max()):.4g}")


def _layers(graph: Graph, context: PassContext, name: str, changes_scales: bool) -> list[str]:
    layers = []
    for op in graph.quantable_operations:
        if not is_quantized(graph, op):
            continue
        why = reason(graph, op) or (changes_scales and reason_for_scales(op)) or ""
        if why:
            context.remarks.append((name, op.where(), f"the weight stays: {why}"))
        else:
            layers.append(op.name)
    return layers


def _tried(
    graph: Graph,
    context: PassContext,
    layer: Layer,
    steps: Sequence[Propose],
    inputs: tuple[SecondMoments, LayerRows],
) -> Graph:
    """Return the graph with the proposals for one layer that were accepted."""
    name = layer.op.name
    fit, rows = inputs
    noise = LayerNoise(layer, rows)
    before = noise(layer)
    for step in (corrected_bias, *steps):
        proposal = step(layer, fit)
        if proposal is None:
            continue
        after = noise(proposal.layer)
        is_better = after < before
        if is_better and not context.rewrites.admit(name):
            break
        why = "" if is_better else "the error does not fall on held-out samples"
        context.decisions.append(
            Decision((name,), proposal.tried, MEASURE, before, after, is_better, why)
        )
        if is_better:
            layer, before = proposal.layer, after
            graph = layer.put_into(graph)
    return graph
