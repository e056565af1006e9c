"""Channels that are one number at every position, whatever the input is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from quantable.ir import Graph, GraphEditor, Operation
from quantable.passes.canonicalize.channel_groups import LINEAR, has_bias
from quantable.passes.canonicalize.channel_links import SUMS, ChannelLinks
from quantable.passes.canonicalize.rewriting import Float64, scalar_parameter

_POOLS = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"})


def constant_channels(
    graph: Graph, links: ChannelLinks, weights: Mapping[str, Float64]
) -> dict[str, Float64]:
    """Return what every channel of every value always is; NaN for what depends on the input.

    Args:
        graph: A float graph.
        links: Its channels.
        weights: Of layers and depthwise convolutions by name: [group, outputs / group,
            inputs / group, taps], with zero for what counts as zero.
    """
    found: dict[str, Float64] = {}
    for op in graph.operations:
        for name in op.outputs:
            if name in links.axes:
                known = None
                if op.kind != "Reshape" or op.name in links.flattenings:
                    known = _computed(graph, op, found, weights)
                found[name] = known if known is not None else _unknown(links, name)
    for name in links.axes:
        found.setdefault(name, _unknown(links, name))
    return found


def is_padded(op: Operation) -> bool:
    """Whether a window may reach beyond its input."""
    automatic = op.string_attribute("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    return automatic or any(op.ints_attribute("pads")) or bool(op.int_attribute("ceil_mode"))


def _unknown(links: ChannelLinks, name: str) -> Float64:
    return np.full(len(links.classes(name)), np.nan)


def _computed(
    graph: Graph, op: Operation, found: Mapping[str, Float64], weights: Mapping[str, Float64]
) -> Float64 | None:
    given = [found.get(name) for name in op.inputs]
    if op.name in weights:
        return _layer(graph, op, given[0], weights[op.name])
    if any(item is None for item in given[:1]):
        return None
    x = given[0]
    assert x is not None
    if op.kind in SUMS:
        other = given[1]
        return None if other is None else (x + other if op.kind == "Add" else x - other)
    if op.kind == "Concat":
        known = [item for item in given if item is not None]
        return np.concatenate(known) if len(known) == len(given) else None
    if op.kind == "Reshape":
        shape = graph.values[op.outputs[0]].shape
        return None if shape is None else np.repeat(x, int(shape[1]) // len(x))
    if op.kind == "AveragePool" and is_padded(op):
        return np.where(x == 0.0, x, np.nan)
    return _channelwise(graph, op, x)


def _layer(graph: Graph, op: Operation, x: Float64 | None, weight: Float64) -> Float64:
    group, outputs, inputs, _ = weight.shape
    values = np.full(group * inputs, np.nan) if x is None else x
    if op.kind != LINEAR and is_padded(op):
        values = np.where(values == 0.0, values, np.nan)
    by_tap = values.reshape(group, 1, inputs, 1)
    # NaN where an input is not constant, unless nothing is multiplied with it.
    terms = np.where(weight == 0.0, 0.0, weight * by_tap)
    total: Float64 = terms.sum(axis=(2, 3)).reshape(group * outputs)
    if has_bias(op):
        total = total + graph.array(op.inputs[2]).astype(np.float64).reshape(-1)
    return total


def _channelwise(graph: Graph, op: Operation, x: Float64) -> Float64 | None:
    """Return what an operation makes of constants; None where that is not asked here."""
    if op.kind == "Relu":
        return np.maximum(x, 0.0)
    if op.kind == "LeakyRelu":
        return np.where(x < 0, x * op.float_attribute("alpha", 0.01), x)
    if op.kind == "Clip":
        return _clipped(graph, op, x)
    return x if op.kind in _POOLS else None


def _clipped(graph: Graph, op: Operation, x: Float64) -> Float64:
    editor = GraphEditor(graph)
    for slot, bound in ((1, np.maximum), (2, np.minimum)):
        if len(op.inputs) > slot and op.inputs[slot]:
            limit = scalar_parameter(editor, op.inputs[slot])
            x = np.full_like(x, np.nan) if limit is None else bound(x, limit)
    return x
