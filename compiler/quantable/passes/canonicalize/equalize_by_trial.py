"""Balance pairs of layers in one of several ways, each on trial.

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

One scale for a whole weight leaves room above small channels. The ways to fill it:

- "dfq" makes the largest weights of both sides equal, as equalize-layers does;
- "made" raises the small channels of the layer that makes them to the largest one; what reads them
  shrinks, so that its range does not grow;
- "read" raises the small channels of the layer that reads them, and shrinks what makes them;
- "both" does the first as far as the layer that reads keeps its precision, then the second.

With ``channel-ratio`` below 1 the mark to fill up to is that quantile of the channels in place of
the largest. Each pair gets the way that lowers the error of the whole network most, if the error
falls below ``loss-threshold`` times what it was; in each of ``iterations`` rounds all are tried.

Preconditions:
    1. The pairs are those of equalize-layers; with ``norms`` LayerNormalization makes channels too.
    2. Around a Clip channels move within its bound; that takes calibration samples.

Numerics: real-equal on the calibration samples, as equalize-layers.
See: Meller et al., Same, Same But Different, 2019; PPQ's SSDEqualizationPass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from quantable.ir import Graph, GraphEditor, OptionError
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.balancing import Balance, scale_limits
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

Way = Literal["dfq", "made", "read", "both"]


@dataclass(frozen=True)
class EqualizeByTrial(Pass):
    """See the module's docstring.

    Attributes:
        ways: What is tried for every pair.
        channel_ratio: Quantile of the channels that small ones are raised to.
        loss_threshold: Part of the error that has to remain at most.
        iterations: Rounds over all pairs; one without any gain is the last.
        level: 2 balances across Add and Sub, too.
        norms: Let LayerNormalization make channels.
        scale_limit: Largest scale of a trial, and inverse of the smallest.
    """

    name: ClassVar[str] = "equalize-by-trial"
    summary: ClassVar[str] = "balance each pair of layers in the way that lowers the error most"
    ways: tuple[Way, ...] = ("dfq", "made", "read", "both")
    channel_ratio: float = 0.5
    loss_threshold: float = 0.8
    iterations: int = 3
    level: int = 1
    norms: bool = False
    scale_limit: float = 1000.0

    def check(self) -> None:
        if not 0.0 < self.channel_ratio <= 1.0:
            found = f"{self.channel_ratio:g}"
            raise OptionError(f"channel-ratio: expected more than 0, at most 1, found {found}")
        if not 0.0 < self.loss_threshold <= 1.0:
            found = f"{self.loss_threshold:g}"
            raise OptionError(f"loss-threshold: expected more than 0, at most 1, found {found}")
        if self.iterations < 1:
            raise OptionError(f"iterations: expected at least 1, found {self.iterations}")
        if self.level not in (1, 2):
            raise OptionError(f"level: expected 1 or 2, found {self.level}")
        if not self.scale_limit > 1.0:
            raise OptionError(f"scale-limit: expected more than 1, found {self.scale_limit:g}")

    def data_digest(self, context: PassContext) -> str:
        return judged_on(context)

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Try every pair in turn."""
        needed_judge(context, self.name)
        if not self._groups(graph):
            return graph
        trials = Trials(graph, context, self.name, needed_gain=1.0 - self.loss_threshold)
        for _ in range(self.iterations):
            before = trials.graph
            for number in range(len(self._groups(graph))):
                self._try(trials, number, context)
            if trials.graph is before:
                break
        return trials.graph

    def _groups(self, graph: Graph) -> list[ChannelGroup]:
        return channel_groups(
            graph, across_sums=self.level == 2, across_bounds=True, with_norms=self.norms
        )

    def _try(self, trials: Trials, number: int, context: PassContext) -> None:
        """Offer every way for one pair, each from the graph without the others."""
        start = trials.graph
        group = self._groups(start)[number]
        bounded = [op.inputs[0] for op in group.bounds]
        axes = channel_axes(start, bounded, group.seconds[0].kind)
        ranges = channel_ranges(start, axes, context, self.name) if axes else {}
        for way in self.ways:
            scale = self._scale(start, group, way, ranges)
            if (np.abs(np.log(scale)) < 1e-3).all():
                continue
            editor = GraphEditor(start)
            scale_channels(editor, group, scale)
            trials.offer(editor.finish(), group.subject, f"balance by '{way}'")

    def _scale(
        self, graph: Graph, group: ChannelGroup, way: Way, ranges: Mapping[str, ChannelRange]
    ) -> Float64:
        """Return what the channels of a pair are divided by."""
        made = np.max([LayerSizes.of(graph, op).made() for op in group.firsts], axis=0)
        read = np.max([LayerSizes.of(graph, op).read() for op in group.seconds], axis=0)
        is_alive = (made > 0) & (read > 0)
        scale = np.ones_like(made)
        if is_alive.any():
            scale[is_alive] = self._raised(made[is_alive], read[is_alive], way)
        limits = scale_limits(graph, group, ranges, Balance(limit=self.scale_limit), len(made))
        found: Float64 = np.clip(scale, *limits).astype(np.float32).astype(np.float64)
        return found

    def _raised(self, made: Float64, read: Float64, way: Way) -> Float64:
        if way == "dfq":
            balanced: Float64 = np.sqrt(made / read)
            return balanced
        top_made, top_read = (float(np.quantile(size, self.channel_ratio)) for size in (made, read))
        raise_made = np.minimum(made / top_made, 1.0)
        raise_read = np.maximum(top_read / read, 1.0)
        if way == "made":
            return raise_made
        if way == "read":
            return raise_read
        first = np.maximum(raise_made, np.minimum(read / top_read, 1.0))
        rest = np.maximum(top_read / (read * first), 1.0)
        both: Float64 = first * np.minimum(rest, np.maximum(top_made * first / made, 1.0))
        return both
