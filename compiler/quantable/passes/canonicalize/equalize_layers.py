"""Give the channels between two layers the range that suits the weights of both.

Before:
    x: f32[N,2]; w: f32[2,2] = [[8, 1], [4, 1]]; b: f32[2] = [4, 1]; v: f32[2,1] = [[2], [4]]
    a = quantable.Linear(x, w, b)
    r = Relu(a)
    y = quantable.Linear(r, v)
    return y
After:
    x: f32[N,2]; w: f32[2,2] = [[4, 2], [2, 2]]; b: f32[2] = [2, 2]; v: f32[2,1] = [[4], [2]]
    a = quantable.Linear(x, w, b)
    r = Relu(a)
    y = quantable.Linear(r, v)
    return y

A channel that one layer makes and the next one multiplies may be divided by any positive number in
the first and multiplied by it in the second, if nothing but scaling lies between them. With
``s = sqrt(largest weight that makes it / largest that reads it)`` both largest weights become their
geometric mean, which one scale for a whole tensor serves best. A layer that is the second of one
pair and the first of the next is balanced in turn until nothing moves.
A pass to ask for: with a scale for each channel of the weights there is little to gain.

Clip from zero to a bound (ReLU6) lies between layers like Relu, as long as its bound says the same
as before: a channel that reaches the bound on the calibration samples keeps its range, others are
moved below it. ``bounds="relax"`` replaces Clip by Relu instead, which changes the network.

With a judge, what the options say is tried against leaving the network alone, and with ``search``
against counting biases and activations; with ``each`` every group of layers has to pay on its own.
Without one it is done as it is asked for.

Preconditions:
    1. Conv or Linear makes the channels, Conv or Linear of the same kind reads them, all with
       weights and biases of their own, and nobody else reads what lies between.
    2. Between them are only operations for which ``f(s * x) = s * f(x)`` channel by channel: Relu,
       LeakyRelu and pooling, with ``level=2`` also Add and Sub of such channels.
    3. Without calibration samples nobody knows which channels reach a bound: the layers around a
       Clip keep their ranges, and a remark names it.
    4. A channel without weights on one side keeps its range.

Numerics: real-equal on the calibration samples; where a Clip is kept, a channel that only other
samples drive over its bound is cut off elsewhere.
See: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019,
section 4.1; PPQ's LayerwiseEqualizationPass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from quantable.ir import Graph, GraphEditor, Operation, OptionError
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.balancing import Balance, balanced_scales
from quantable.passes.canonicalize.channel_groups import (
    ChannelGroup,
    channel_groups,
    scale_channels,
)
from quantable.passes.canonicalize.channel_ranges import (
    ChannelRange,
    channel_axes,
    channel_ranges,
)
from quantable.passes.canonicalize.rewriting import Float64
from quantable.passes.canonicalize.trials import Trials, judged_on

Bounds = Literal["keep", "relax", "stay"]


@dataclass(frozen=True)
class EqualizeLayers(Pass):
    """See the module's docstring.

    Attributes:
        iterations: Most times that every pair is balanced.
        bias: Let a bias count as a weight of its channel, so that it does not grow out of range.
        bias_multiplier: How much of it counts.
        activations: Let the largest activation count, so that it does not either.
        activation_multiplier: How much of it counts.
        value_threshold: Channels whose weights on both sides are smaller keep their range.
        scale_limit: Largest scale, and inverse of the smallest.
        level: 2 balances across Add and Sub, too.
        depthwise: How much a depthwise layer is favoured over its neighbours, -1 to 1.
        headroom: How often a channel's largest value has to fit below a bound.
        bounds: "keep" moves channels within bounds, "relax" removes upper bounds, "stay" leaves
            layers around a bound alone.
        search: With a judge, try with biases and activations counted and not.
        each: With a judge, take back each group's scales where that lowers the error.
    """

    name: ClassVar[str] = "equalize-layers"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "balance the weights on both sides of each channel"
    iterations: int = 40
    bias: bool = False
    bias_multiplier: float = 0.5
    activations: bool = False
    activation_multiplier: float = 0.5
    value_threshold: float = 0.0
    scale_limit: float = 1000.0
    level: int = 1
    depthwise: float = 0.0
    headroom: float = 1.0
    bounds: Bounds = "keep"
    search: bool = True
    each: bool = False

    def check(self) -> None:
        if self.iterations < 1:
            raise OptionError(f"iterations: expected at least 1, found {self.iterations}")
        if self.level not in (1, 2):
            raise OptionError(f"level: expected 1 or 2, found {self.level}")
        if not self.scale_limit > 1.0:
            raise OptionError(f"scale-limit: expected more than 1, found {self.scale_limit:g}")
        if not -1.0 <= self.depthwise <= 1.0:
            raise OptionError(f"depthwise: expected -1 to 1, found {self.depthwise:g}")
        for name in ("bias_multiplier", "activation_multiplier", "value_threshold", "headroom"):
            if not getattr(self, name) >= 0.0:
                shown = name.replace("_", "-")
                raise OptionError(f"{shown}: expected at least 0, found {getattr(self, name):g}")

    def data_digest(self, context: PassContext) -> str:
        return judged_on(context)

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Balance every group of layers, then scale their parameters."""
        groups = self._groups(graph, context)
        if not groups:
            return graph
        ranges = self._ranges(graph, groups, context)
        if context.judge is None:
            scales = balanced_scales(
                graph, groups, ranges, self._balance(self.bias, self.activations)
            )
            return self._applied(graph, groups, scales, context)
        return self._judged(graph, groups, ranges, context)

    def _groups(self, graph: Graph, context: PassContext) -> list[ChannelGroup]:
        """Return the groups of layers to balance."""
        groups = channel_groups(graph, across_sums=self.level == 2, across_bounds=True)
        if (self.bounds == "keep" and context.laboratory is not None) or self.bounds == "relax":
            return groups
        for group in groups:
            if group.bounds and self.bounds == "keep":
                text = f"not balanced: {group.bounds[0].where()} bounds the channels"
                context.remarks.append((self.name, group.firsts[0].where(), text))
        return [group for group in groups if not group.bounds]

    def _ranges(
        self, graph: Graph, groups: Sequence[ChannelGroup], context: PassContext
    ) -> Mapping[str, ChannelRange]:
        """Measure what the groups' channels reach, as far as somebody asks."""
        counts = self.activations or (self.search and context.judge is not None)
        axes: dict[str, int] = {}
        for group in groups:
            values = [op.inputs[0] for op in group.bounds if self.bounds == "keep"]
            values += group.values if counts else ()
            axes |= channel_axes(graph, values, group.firsts[0].kind)
        return channel_ranges(graph, axes, context, self.name) if axes else {}

    def _balance(self, bias: bool, activations: bool) -> Balance:
        return Balance(
            self.iterations, self.bias_multiplier if bias else 0.0,
            self.activation_multiplier if activations else 0.0, self.value_threshold,
            self.scale_limit, self.bounds == "keep", self.headroom, self.depthwise,
        )  # fmt: skip

    def _judged(
        self,
        graph: Graph,
        groups: Sequence[ChannelGroup],
        ranges: Mapping[str, ChannelRange],
        context: PassContext,
    ) -> Graph:
        """Return the best of the candidates and of the graph as it is."""
        trials = Trials(graph, context, self.name)
        subject = tuple(dict.fromkeys(name for group in groups for name in group.subject))
        kept: list[Float64] | None = None
        for bias, activations in self._variants():
            scales = balanced_scales(graph, groups, ranges, self._balance(bias, activations))
            candidate = self._applied(graph, groups, scales)
            counted = ["weights"] + ["biases"] * bias + ["activations"] * activations
            if trials.offer(candidate, subject, f"balance {', '.join(counted)}"):
                kept = scales
        if kept is not None and self.each:
            for number, group in enumerate(groups):
                fewer = [*kept[:number], np.ones_like(kept[number]), *kept[number + 1 :]]
                candidate = self._applied(graph, groups, fewer)
                if trials.offer(candidate, group.subject, "leave these layers alone"):
                    kept = fewer
        return trials.graph

    def _variants(self) -> tuple[tuple[bool, bool], ...]:
        """Return whether biases and activations count in each candidate."""
        asked = (self.bias, self.activations)
        if not self.search:
            return (asked,)
        others = [(False, False), (True, False), (False, True)]
        return (asked, *(variant for variant in others if variant != asked))

    def _applied(
        self,
        graph: Graph,
        groups: Sequence[ChannelGroup],
        scales: Sequence[Float64],
        context: PassContext | None = None,
    ) -> Graph:
        """Return the graph with scaled parameters; counts rewrites where a context is given."""
        editor = GraphEditor(graph)
        changes = 0
        for group, scale in zip(groups, scales, strict=True):
            if not (scale != 1.0).any():
                continue
            if context is not None and not context.rewrites.admit(*group.names):
                break
            scale_channels(editor, group, scale)
            if self.bounds == "relax":
                for op in group.bounds:
                    editor.replace(_relaxed(op))
            changes += 1
        return editor.finish() if changes else graph


def _relaxed(clip: Operation) -> Operation:
    """Return a Clip from zero without its upper bound."""
    return replace(clip, kind="Relu", inputs=clip.inputs[:1])
