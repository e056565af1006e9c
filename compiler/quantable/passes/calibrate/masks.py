"""Ranges around attention masks, whose least float numbers no grid of integers could hold.

A Softmax reads its input from the largest element of a row down: what lies a few units below counts
for nothing. Where masks are added in front of it, the sum is given the range of what is not masked,
and `MARGIN` below; the mask itself reaches as far down as brings the largest sum there.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from quantable.ir import Graph, Operation, Profile, ValueStatistics
from quantable.ir.profile import bin_edges

MASKED = -(2.0**100)
"""Numbers below are masks: no network computes with them."""
MARGIN = 8.0
"""exp(-8) is a twelfth of a step of 8-bit probabilities."""
_MOVING = ("Expand", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze")
Range = tuple[float, float]


def masked_ranges(graph: Graph, profile: Profile | None) -> dict[str, Range]:
    """Return the ranges of masks and of what they are added to, by value name.

    Args:
        graph: The quantable graph.
        profile: Of its activations.
    """
    found: dict[str, Range] = {}
    statistics = {} if profile is None else profile.statistics
    for op in graph.operations:
        held = statistics.get(op.outputs[0]) if op.kind == "Add" else None
        if held is None or held.minimum > MASKED or not _only_softmax(graph, op):
            continue
        low, high = _unmasked(held)
        found[op.outputs[0]] = (low - MARGIN, high)
        for name in op.inputs:
            own = _range_of(graph, statistics, name)
            if own is not None:
                _reach(graph, found, name, own, high - low + MARGIN)
    return found


def _only_softmax(graph: Graph, op: Operation) -> bool:
    uses = graph.uses(op.outputs[0])
    return bool(uses) and all(reader.kind == "Softmax" for reader, _ in uses)


def _unmasked(held: ValueStatistics) -> Range:
    """Return the range of the elements that are not masked; [0, 0] where all are."""
    lower, upper = bin_edges(held.bins)
    kept = np.asarray(upper > MASKED)
    if not kept.any():
        return 0.0, 0.0
    return float(np.asarray(lower)[kept].min()), float(min(np.asarray(upper)[kept].max(),
                                                           held.maximum))  # fmt: skip


def _range_of(graph: Graph, statistics: Mapping[str, ValueStatistics], name: str) -> Range | None:
    """Return the unmasked range of an operand, None where nothing is masked in it."""
    if graph.is_parameter(name):
        array = graph.array(name).astype(np.float64)
        kept = array[array > MASKED]
        if kept.size == array.size:
            return None
        return (float(kept.min()), float(kept.max())) if kept.size else (0.0, 0.0)
    held = statistics.get(name)
    return None if held is None or held.minimum > MASKED else _unmasked(held)


def _reach(graph: Graph, found: dict[str, Range], name: str, own: Range, down: float) -> None:
    """Let a mask, and what it was moved from, reach further down."""
    low, high = min(own[0], 0.0) - down, max(own[1], 0.0)
    while name:
        before = found.get(name, (low, high))
        found[name] = (min(before[0], low), max(before[1], high))
        producer = graph.producers.get(name)
        name = producer.inputs[0] if producer is not None and producer.kind in _MOVING else ""
