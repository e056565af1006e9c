"""Make two channels of one whose weights are outliers.

Before:
    x: f32[N,1]; w: f32[1,4] = [[1, 1, 1, 2]]; v: f32[4,1] = [[1], [1], [1], [6]]
    a = quantable.Linear(x, w)
    y = quantable.Linear(a, v)
    return y
After:
    x: f32[N,1]; w: f32[1,5] = [[1, 1, 1, 2, 2]]; v: f32[5,1] = [[1], [1], [1], [3], [3]]
    a = quantable.Linear(x, w)
    y = quantable.Linear(a, v)
    return y

A channel is made twice and read twice. Its halves are together what it was: each is read with half
of the weights ("read"), made with half of them ("made"), or with the root of a half on both sides
("both"). So the largest weights of a layer halve, and one scale for all of them becomes finer, for
one channel more of work. For each group of layers the outliers are split one after the other, and
the kind of halving is searched; as it was is a candidate.

Preconditions:
    1. The channel lies between layers as in equalize-layers; none of them has groups (a depthwise
       layer would have to be split along).
    2. It is an outlier: its largest weight is more than ``threshold`` times the median channel's.
    3. Across a Clip only "read" keeps the function.

Numerics: real-equal.
See: Zhao et al., Improving Neural Network Quantization without Retraining using Outlier Channel
Splitting, 2019; PPQ's ChannelwiseSplitPass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from quantable.ir import Graph, GraphEditor, OptionError
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.channel_groups import (
    ChannelGroup,
    LayerSizes,
    channel_groups,
    has_bias,
)
from quantable.passes.canonicalize.rewriting import Float64
from quantable.passes.canonicalize.trials import Trials, judged_on, needed_judge

Side = Literal["made", "read", "both"]
FACTORS: dict[Side, tuple[float, float]] = {
    "read": (1.0, 0.5), "made": (0.5, 1.0), "both": (0.5**0.5, 0.5**0.5),
}  # fmt: skip
"""What the weights that make a half, and those that read it, are multiplied by."""


@dataclass(frozen=True)
class SplitChannels(Pass):
    """See the module's docstring.

    Attributes:
        iterations: Most channels that are split in one group.
        ratio: Most channels that a group may gain, as a part of those it has (one at least).
        threshold: How many times larger than the median channel an outlier is.
        sides: Which halvings are tried.
        bias: Let a bias count as a weight that makes its channel.
        gain: Part of the error by which it has to fall: more work has to pay.
    """

    name: ClassVar[str] = "split-channels"
    summary: ClassVar[str] = "make two channels of one whose weights are outliers"
    iterations: int = 10
    ratio: float = 0.1
    threshold: float = 4.0
    sides: tuple[Side, ...] = ("read", "made", "both")
    bias: bool = False
    gain: float = 0.05

    def check(self) -> None:
        if not 0.0 <= self.gain < 1.0:
            raise OptionError(f"gain: expected at least 0, less than 1, found {self.gain:g}")
        if self.iterations < 1:
            raise OptionError(f"iterations: expected at least 1, found {self.iterations}")
        if not 0.0 < self.ratio <= 1.0:
            raise OptionError(f"ratio: expected more than 0, at most 1, found {self.ratio:g}")
        if not self.threshold >= 1.0:
            raise OptionError(f"threshold: expected at least 1, found {self.threshold:g}")

    def data_digest(self, context: PassContext) -> str:
        return judged_on(context)

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Split the outliers of every group."""
        needed_judge(context, self.name)
        firsts = [
            group.firsts[0].name
            for group in channel_groups(graph, across_bounds=True)
            if all(op.int_attribute("group", 1) == 1 for op in (*group.firsts, *group.seconds))
        ]
        trials: Trials | None = None
        for name in firsts:
            start = graph if trials is None else trials.graph
            for side in self.sides:
                # Splitting renames nothing, but a group holds operations of the graph at hand.
                group = _group_of(start, name)
                if group.bounds and side != "read":
                    continue
                order = self._outliers(start, group, side)
                if not order:
                    continue
                trials = trials or Trials(graph, context, self.name, self.gain)
                text = f"split {len(order)} channels, halve what is {side}"
                trials.offer(_split(start, group, order, side), group.subject, text)
        return graph if trials is None else trials.graph

    def _outliers(self, graph: Graph, group: ChannelGroup, side: Side) -> list[int]:
        """Return the channels to split, in turn; one may come several times."""
        made_by, read_by = FACTORS[side]
        made, read = _sizes(graph, group, self.bias)
        shares = np.ones(len(made))
        found: list[int] = []
        most = min(self.iterations, max(1, int(len(made) * self.ratio)))
        while len(found) < most:
            size = np.ones(len(made))
            if made_by < 1.0:
                size = np.maximum(size, _relative(made, shares, made_by) / self.threshold)
            if read_by < 1.0:
                size = np.maximum(size, _relative(read, shares, read_by) / self.threshold)
            worst = int(np.argmax(size))
            if size[worst] <= 1.0:
                break
            found.append(worst)
            shares[worst] += 1
        return found


def _relative(size: Float64, shares: Float64, factor: float) -> Float64:
    """Return how many times the median channel each is, once it is in so many parts."""
    median = float(np.median(size[size > 0])) if (size > 0).any() else 0.0
    if median == 0.0:
        return np.zeros_like(size)
    # The largest of two or three parts is `factor` of the whole, of four its square.
    parts: Float64 = size * factor ** np.floor(np.log2(shares)) / median
    return parts


def _sizes(graph: Graph, group: ChannelGroup, bias: bool) -> tuple[Float64, Float64]:
    firsts = [LayerSizes.of(graph, op) for op in group.firsts]
    made = [np.maximum(layer.made(), layer.bias) if bias else layer.made() for layer in firsts]
    read = [LayerSizes.of(graph, op).read() for op in group.seconds]
    return np.max(made, axis=0), np.max(read, axis=0)


def _group_of(graph: Graph, first: str) -> ChannelGroup:
    groups = channel_groups(graph, across_bounds=True)
    return next(group for group in groups if group.firsts[0].name == first)


def _split(graph: Graph, group: ChannelGroup, order: Sequence[int], side: Side) -> Graph:
    """Return the graph with channels split; new ones come last."""
    made_by, read_by = FACTORS[side]
    editor = GraphEditor(graph)
    count = len(_sizes(graph, group, False)[0])
    source, made, read = list(range(count)), [1.0] * count, [1.0] * count
    for channel in order:
        # The part that is the largest now; both halves of it are smaller.
        parts = [index for index, origin in enumerate(source) if origin == channel]
        part = max(parts, key=lambda index: made[index] * read[index])
        made[part] *= made_by
        read[part] *= read_by
        source.append(channel)
        made.append(made[part])
        read.append(read[part])
    taken = np.array(source)
    for op in group.firsts:
        axis = 0 if op.kind == "Conv" else 1
        _take(editor, op.inputs[1], taken, np.array(made), axis)
        if has_bias(op):
            rank = len(editor.parameters[op.inputs[2]].shape)
            _take(editor, op.inputs[2], taken, np.array(made), rank - 1)
    for op in group.seconds:
        _take(editor, op.inputs[1], taken, np.array(read), 1 if op.kind == "Conv" else 0)
    axis = 1 if group.firsts[0].kind == "Conv" else -1
    for name in group.values:
        shape = editor.values[name].shape
        if shape is not None:
            dims = list(shape)
            dims[axis] = len(taken)
            editor.values[name] = replace(editor.values[name], shape=tuple(dims))
    return editor.finish()


def _take(editor: GraphEditor, name: str, source: np.ndarray, factor: Float64, axis: int) -> None:
    contents = np.take(editor.array(name).astype(np.float64), source, axis=axis)
    along = [1] * contents.ndim
    along[axis] = len(factor)
    scaled = contents * factor.reshape(along)
    editor.make_parameter(name, scaled.astype(editor.parameters[name].dtype.numpy))
