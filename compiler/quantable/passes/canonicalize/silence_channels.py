"""Clear the weights of channels that are always zero, or that nobody reads.

Before:
    x: f32[N,2]; w: f32[2,3] = [[1, 2, 0], [3, 4, 0]]; b: f32[3] = [1, 1, -1]
    v: f32[3,1] = [[5], [0], [90]]
    a = quantable.Linear(x, w, b)
    r = Relu(a)
    y = quantable.Linear(r, v)
    return y
After:
    x: f32[N,2]; w: f32[2,3] = [[1, 0, 0], [3, 0, 0]]; b: f32[3] = [1, 0, 0]
    v: f32[3,1] = [[5], [0], [0]]
    a = quantable.Linear(x, w, b)
    r = Relu(a)
    y = quantable.Linear(r, v)
    return y

Training leaves channels behind that do nothing: their weights decayed to zero and their bias is
cut off by the Relu, or what reads them decayed. The weights on their other side are never pulled
anywhere; after BatchNormalization is folded they are often the largest of the layer, and take the
precision of all others where one scale serves a whole tensor.

Preconditions:
    1. The channel lies between layers as in equalize-layers, Add and Sub left out.
    2. Always zero: every weight that makes it is zero, and so is what its bias becomes. Nobody
       reads it: every weight that multiplies it is zero.
    3. Zero is what is at most ``tolerance`` times the layer's largest weight; 2**-24 of it is less
       than float32 keeps of the sum.

Numerics: real-equal.
See: Nagel et al., Data-Free Quantization, 2019, appendix; MobileNetV1 and MobileNetV2 have such
channels in their first layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from quantable.ir import Graph, GraphEditor, OptionError
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.channel_groups import (
    ChannelGroup,
    LayerSizes,
    channel_groups,
    has_bias,
    scale_inputs,
    scale_outputs,
)

Mask = npt.NDArray[np.bool_]
_RECTIFYING = frozenset({"Relu", "Clip"})


@dataclass(frozen=True)
class SilenceChannels(Pass):
    """See the module's docstring.

    Attributes:
        tolerance: Weights up to this part of the largest one of their layer count as zero.
    """

    name: ClassVar[str] = "silence-channels"
    summary: ClassVar[str] = "clear the weights of channels that are zero or that nobody reads"
    tolerance: float = 2.0**-24

    def check(self) -> None:
        if not 0.0 <= self.tolerance < 1.0:
            raise OptionError(f"tolerance: expected 0 to 1, found {self.tolerance:g}")

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Clear until nothing is left: silence spreads along the layers, in both directions."""
        while (cleared := self._once(graph, context)) is not graph:
            graph = cleared
        return graph

    def _once(self, graph: Graph, context: PassContext) -> Graph:
        editor = GraphEditor(graph)
        changes = 0
        for group in channel_groups(graph, across_bounds=True):
            sizes = {op.name: LayerSizes.of(graph, op) for op in (*group.firsts, *group.seconds)}
            made, read = self._silent(graph, group, sizes)
            silent = made | read
            counts = np.zeros(len(silent), np.bool_)
            for op in group.firsts:
                counts |= silent & ((sizes[op.name].made() > 0) | (sizes[op.name].bias > 0))
            for op in group.seconds:
                counts |= silent & (sizes[op.name].read() > 0)
            if not counts.any() or not context.rewrites.admit(*group.subject):
                continue
            for op in group.firsts:
                scale_outputs(editor, op, np.where(silent, 0.0, 1.0))
            for op in group.seconds:
                scale_inputs(editor, op, np.where(silent, 0.0, 1.0))
            text = f"{int(counts.sum())} of {len(silent)} channels do nothing: cleared"
            context.remarks.append((self.name, group.firsts[0].where(), text))
            changes += 1
        return editor.finish() if changes else graph

    def _silent(
        self, graph: Graph, group: ChannelGroup, sizes: dict[str, LayerSizes]
    ) -> tuple[Mask, Mask]:
        """Return which channels are always zero, and which nobody reads."""
        count = sizes[group.firsts[0].name].made().size
        is_zero, is_unread = np.ones(count, np.bool_), np.ones(count, np.bool_)
        for op in group.firsts:
            made = sizes[op.name].made()
            is_zero &= made <= self.tolerance * made.max()
            if has_bias(op):
                bias = graph.array(op.inputs[2]).astype(np.float64).reshape(-1)
                is_rectified = all(
                    user.kind in _RECTIFYING for user, _ in graph.uses(op.outputs[0])
                )
                is_zero &= (bias <= 0.0) if is_rectified else (bias == 0.0)
        for op in group.seconds:
            read = sizes[op.name].read()
            is_unread &= read <= self.tolerance * read.max()
        return is_zero, is_unread
