"""The range of every channel on the calibration samples, from one run of the float graph."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from quantable.ir import DType, Graph, GraphEditor
from quantable.passes.base import PassContext
from quantable.passes.canonicalize.rewriting import Float64
from quantable.passes.laboratory import fitting_samples, needed_laboratory

_MOST = 64


@dataclass(frozen=True)
class ChannelRange:
    """Extrema of one value's channels.

    Attributes:
        low, high: [channels], over all samples.
    """

    low: Float64
    high: Float64

    @property
    def largest(self) -> Float64:
        """The largest absolute value of every channel."""
        return np.maximum(np.abs(self.low), np.abs(self.high))


def channel_ranges(
    graph: Graph, axes: dict[str, int], context: PassContext, name: str
) -> dict[str, ChannelRange]:
    """Measure the channels of values on the samples to fit on.

    The reductions are part of the graph that runs, so that no activation leaves the runtime.

    Args:
        graph: A float graph.
        axes: The channel axis of every value to be measured, by name; ranks must be known.
        context: Holds the laboratory.
        name: The pass that asks.
    """
    laboratory = needed_laboratory(context, name)
    if not axes:
        return {}
    editor = GraphEditor(graph)
    probes = {value: _probe(editor, value, axis) for value, axis in axes.items()}
    wanted = [probe for pair in probes.values() for probe in pair]
    editor.outputs = wanted
    found = laboratory.values(editor.finish(), wanted, _spread(fitting_samples(laboratory.count)))
    ranges = {}
    for value, (low, high) in probes.items():
        channels = found[low].shape[-1]
        lows = found[low].astype(np.float64).reshape(-1, channels).min(axis=0)
        highs = found[high].astype(np.float64).reshape(-1, channels).max(axis=0)
        ranges[value] = ChannelRange(lows, highs)
    return ranges


def _probe(editor: GraphEditor, value: str, axis: int) -> tuple[str, str]:
    """Add the extrema of a value's channels, [batch, channels], to a graph."""
    shape = editor.values[value].shape
    assert shape is not None
    kept = {0, axis % len(shape)}
    reduced = [index for index in range(len(shape)) if index not in kept]
    axes = editor.add_parameter(f"{value}.axes", np.array(reduced, np.int64))
    names = []
    for kind in ("ReduceMin", "ReduceMax"):
        made = editor.add_value(
            f"{value}.{kind}", DType.FLOAT32, tuple(shape[i] for i in sorted(kept))
        )
        attributes = {"keepdims": 0, "noop_with_empty_axes": 1}
        editor.add_operation(made, kind, (value, axes), (made,), attributes)
        names.append(made)
    return names[0], names[1]


def _spread(samples: list[int]) -> list[int]:
    count = min(len(samples), _MOST)
    return [samples[index * len(samples) // count] for index in range(count)]


def channel_axes(graph: Graph, values: Iterable[str], kind: str) -> dict[str, int]:
    """Return the channel axis of values between layers of a kind; those of unknown rank are out."""
    axis = 1 if kind == "Conv" else -1
    return {name: axis for name in values if graph.values[name].shape is not None}
