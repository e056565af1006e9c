"""Move the differences between an activation's channels into the weights that read it.

Before:
    x: f32[N,2]; g: f32[2] = [16, 1]; h: f32[2] = [0, 0]; w: f32[2,1] = [[1], [1]]
    a = LayerNormalization(x, g, h) {axis=-1}
    y = quantable.Linear(a, w)
    return y
After:
    x: f32[N,2]; g: f32[2] = [4, 1]; h: f32[2] = [0, 0]; w: f32[2,1] = [[4], [1]]
    a = LayerNormalization(x, g, h) {axis=-1}
    y = quantable.Linear(a, w)
    return y

One scale for a whole activation serves its largest channel. With ``s = largest activation **
strength / largest weight that reads it ** (1 - strength)`` a channel is divided by s where it is
made (in scale and shift of a LayerNormalization, or in weight and bias of a layer) and multiplied
by s in the weights that read it. How much the weights can take depends on the network: the
strength of each group is searched, and leaving it alone is a candidate.

Preconditions:
    1. LayerNormalization over the last axis, Conv or Linear makes the channels, with parameters of
       their own; Conv or Linear reads them; what lies between scales along, as in equalize-layers,
       bounds left out.
    2. A channel that is zero on all samples, or that nobody reads, keeps its range.

Numerics: real-equal.
See: Xiao et al., SmoothQuant, 2022, section 4; PPQ's ActivationEqualizationPass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from quantable.ir import Graph, GraphEditor, OptionError
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.channel_groups import (
    ChannelGroup,
    LayerSizes,
    channel_groups,
    scale_channels,
)
from quantable.passes.canonicalize.channel_ranges import (
    ChannelRange,
    channel_axes,
    channel_ranges,
)
from quantable.passes.canonicalize.rewriting import Float64
from quantable.passes.canonicalize.trials import Trials, judged_on, needed_judge


@dataclass(frozen=True)
class EqualizeActivations(Pass):
    """See the module's docstring.

    Attributes:
        strengths: What is tried for every group: 0 leaves all differences to the activation, 1
            moves all of them into the weights.
        scale_limit: Largest scale, and inverse of the smallest.
        layers: Names of layers that read; groups without any of them are left alone. Empty for all.
        gain: Part of the error by which it has to fall: less is chance.
    """

    name: ClassVar[str] = "equalize-activations"
    summary: ClassVar[str] = "move differences between activation channels into the weights"
    strengths: tuple[float, ...] = (0.15, 0.25, 0.5, 0.75, 0.95)
    scale_limit: float = 1000.0
    layers: tuple[str, ...] = ()
    gain: float = 0.01

    def check(self) -> None:
        if not 0.0 <= self.gain < 1.0:
            raise OptionError(f"gain: expected at least 0, less than 1, found {self.gain:g}")
        for strength in self.strengths:
            if not 0.0 <= strength <= 1.0:
                raise OptionError(f"strengths: expected 0 to 1, found {strength:g}")
        if not self.scale_limit > 1.0:
            raise OptionError(f"scale-limit: expected more than 1, found {self.scale_limit:g}")

    def data_digest(self, context: PassContext) -> str:
        return judged_on(context)

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Search the strength of every group, in the order of the graph."""
        needed_judge(context, self.name)
        groups = [
            group
            for group in channel_groups(graph, with_norms=True)
            if not self.layers or any(op.name in self.layers for op in group.seconds)
        ]
        axes: dict[str, int] = {}
        for group in groups:
            axes |= channel_axes(graph, _read_values(group), group.seconds[0].kind)
        ranges = channel_ranges(graph, axes, context, self.name)
        groups = [group for group in groups if set(_read_values(group)) <= set(ranges)]
        if not groups:
            return graph
        trials = Trials(graph, context, self.name, self.gain)
        for group in groups:
            # A group is moved once: scales of the candidates are those of the graph before it.
            start, measured = trials.graph, _largest(group, ranges)
            for strength in self.strengths:
                candidate = self._smoothed(start, group, measured, strength)
                if candidate is not None:
                    trials.offer(candidate, group.subject, f"strength {strength:g}")
        return trials.graph

    def _smoothed(
        self, graph: Graph, group: ChannelGroup, activation: Float64, strength: float
    ) -> Graph | None:
        """Return the graph with one group smoothed, None where nothing moves."""
        weight = np.max([LayerSizes.of(graph, op).read() for op in group.seconds], axis=0)
        is_alive = (activation > 0) & (weight > 0)
        if not is_alive.any():
            return None
        scale = np.ones_like(weight)
        scale[is_alive] = activation[is_alive] ** strength / weight[is_alive] ** (1.0 - strength)
        # A factor of all channels alike changes nothing that is quantized per tensor.
        scale[is_alive] /= scale[is_alive].min()
        scale = np.clip(scale, 1.0, self.scale_limit).astype(np.float32).astype(np.float64)
        if (scale == 1.0).all():
            return None
        editor = GraphEditor(graph)
        scale_channels(editor, group, scale)
        return editor.finish()


def _read_values(group: ChannelGroup) -> tuple[str, ...]:
    """Return the values that the layers of a group read."""
    return tuple(dict.fromkeys(op.inputs[0] for op in group.seconds))


def _largest(group: ChannelGroup, ranges: dict[str, ChannelRange]) -> Float64:
    found: Float64 = np.max([ranges[name].largest for name in _read_values(group)], axis=0)
    return found
