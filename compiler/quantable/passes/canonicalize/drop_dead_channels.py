"""Remove channels that no input changes, or that nobody reads.

Before:
    x: f32[N,1]; w: f32[1,5] = [[1, 2, 3, 0, 4]]; b: f32[5] = [1, 1, 1, 2, 1]
    v: f32[5,1] = [[5], [6], [7], [10], [8]]
    a = quantable.Linear(x, w, b)
    r = Relu(a)
    y = quantable.Linear(r, v)
    return y
After:
    x: f32[N,1]; w: f32[1,4] = [[1, 2, 3, 4]]; b: f32[4] = [1, 1, 1, 1]
    v: f32[4,1] = [[5], [6], [7], [8]]; y.bias: f32[1] = [20]
    a = quantable.Linear(x, w, b)
    r = Relu(a)
    y = quantable.Linear(r, v, y.bias)
    return y

Training leaves such channels behind (see silence-channels): they cost products and memory, and
change nothing. What a constant channel adds to the layers that read it goes into their biases.
Channels are removed wherever they pass: through depthwise convolutions, activations, pools, sums
(of both operands, where nobody reads the sum), concatenations and a last flattening. What is
removed may leave others dead, so that it is done again until nothing is left.

Preconditions:
    1. Every reader of the channel has weights of zero for it, or the channel is constant, and zero
       wherever a window with padding reads it: beyond the border lies zero and not the constant.
    2. The channel is neither an input nor an output of the network, and every operation that it
       passes is one of those above.
    3. Zero is what is at most ``tolerance`` times the layer's largest weight; 2**-24 of it is less
       than float32 keeps of the sum.
    4. Channels stay a multiple of ``multiple``, where they were more: kernels compute as many
       at a time.

Numerics: real-equal.
See: Li et al., Pruning Filters for Efficient ConvNets, 2017; here without any loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from quantable.ir import Graph, GraphEditor, Operation, OptionError
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.channel_groups import LINEAR, has_bias
from quantable.passes.canonicalize.channel_links import ChannelLinks
from quantable.passes.canonicalize.constant_channels import constant_channels, is_padded
from quantable.passes.canonicalize.rewriting import Float64

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class DropDeadChannels(Pass):
    """See the module's docstring.

    Attributes:
        tolerance: Weights up to this part of the largest one of their layer count as zero.
        multiple: What numbers of channels stay a multiple of.
    """

    name: ClassVar[str] = "drop-dead-channels"
    summary: ClassVar[str] = "remove channels that no input changes, or that nobody reads"
    tolerance: float = 2.0**-24
    multiple: int = 4

    def check(self) -> None:
        if not 0.0 <= self.tolerance < 1.0:
            raise OptionError(f"tolerance: expected 0 to 1, found {self.tolerance:g}")
        if self.multiple < 1:
            raise OptionError(f"multiple: expected at least 1, found {self.multiple}")

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Remove until nothing is left: layers without readers have no inputs to read either."""
        while (smaller := self._once(graph, context)) is not graph:
            graph = smaller
        return graph

    def _once(self, graph: Graph, context: PassContext) -> Graph:
        links = ChannelLinks(graph)
        known = (*links.layers.values(), *links.depthwise.values())
        weights = {op.name: _grouped(graph, op, self.tolerance) for op in known}
        constants = constant_channels(graph, links, weights)
        dead = self._dead(links, weights, constants)
        dropped = self._rounded(links, dead)
        if not dropped.any() or not context.rewrites.admit(*_touched(links, dropped)):
            return graph
        for op in links.layers.values():
            made = int(dropped[links.classes(op.outputs[0])].sum())
            if made:
                text = f"{made} of {len(links.classes(op.outputs[0]))} channels do nothing: removed"
                context.remarks.append((self.name, op.where(), text))
        return _without(graph, links, dropped, constants)

    def _dead(
        self, links: ChannelLinks, weights: Mapping[str, Float64], constants: dict[str, Float64]
    ) -> Mask:
        """Return, by class of channels, whether all its readers can do without it."""
        dead = np.ones(len(links), np.bool_)
        dead[0] = False
        for op in links.layers.values():
            value = constants[op.inputs[0]]
            is_padded_layer = op.kind != LINEAR and is_padded(op)
            can_fold = value == 0.0 if is_padded_layer else ~np.isnan(value)
            is_unread = (weights[op.name][0] == 0.0).all(axis=(0, 2))
            alive = links.classes(op.inputs[0])[~(can_fold | is_unread)]
            dead[alive] = False
        return dead

    def _rounded(self, links: ChannelLinks, dead: Mask) -> Mask:
        """Keep as many dead classes of every kind as make a multiple of channels stay.

        Classes are of one kind that pass the same values.
        """
        passed: dict[int, list[str]] = {}
        for name in links.axes:
            for item in dict.fromkeys(links.classes(name).tolist()):
                passed.setdefault(item, []).append(name)
        kinds: dict[tuple[str, ...], list[int]] = {}
        for item, names in passed.items():
            kinds.setdefault(tuple(names), []).append(item)
        dropped = np.zeros_like(dead)
        for items in kinds.values():
            dying = [item for item in items if dead[item]]
            alive = len(items) - len(dying)
            kept = max(-(-alive // self.multiple) * self.multiple, self.multiple)
            dropped[dying[max(kept - alive, 0) :]] = True
        return dropped


def _grouped(graph: Graph, op: Operation, tolerance: float) -> Float64:
    """Return a layer's weights, [group, outputs / group, inputs / group, taps]."""
    weight = graph.array(op.inputs[1]).astype(np.float64)
    if weight.size:
        weight = np.where(np.abs(weight) <= tolerance * np.abs(weight).max(), 0.0, weight)
    if op.kind == LINEAR:
        return weight.T[None, :, :, None]
    group = op.int_attribute("group", 1)
    return weight.reshape(group, weight.shape[0] // group, weight.shape[1], -1)


def _touched(links: ChannelLinks, dropped: Mask) -> tuple[str, ...]:
    layers = (*links.layers.values(), *links.depthwise.values())
    return tuple(
        op.name
        for op in layers
        if any(dropped[links.classes(name)].any() for name in (op.inputs[0], op.outputs[0]))
    )


def _without(
    graph: Graph, links: ChannelLinks, dropped: Mask, constants: Mapping[str, Float64]
) -> Graph:
    """Return a graph without some classes of channels."""
    editor = GraphEditor(graph)
    kept = {name: ~dropped[links.classes(name)] for name in links.axes}
    for op in links.layers.values():
        _fold_into_bias(editor, op, kept[op.inputs[0]], constants[op.inputs[0]])
        axis = 1 if op.kind == LINEAR else 0
        _keep(editor, op.inputs[1], kept[op.outputs[0]], axis)
        _keep(editor, op.inputs[1], kept[op.inputs[0]], 1 - axis)
        _keep_bias(editor, editor.operations[op.name], kept[op.outputs[0]])
    for op in links.depthwise.values():
        mask = kept[op.outputs[0]]
        _keep(editor, op.inputs[1], mask, 0)
        _keep_bias(editor, op, mask)
        editor.replace(replace(op, attributes={**op.attributes, "group": int(mask.sum())}))
    for name, mask in kept.items():
        if not mask.all():
            _shrink(editor, name, links.axes[name], int(mask.sum()))
    return editor.finish()


def _fold_into_bias(editor: GraphEditor, op: Operation, kept: Mask, value: Float64) -> None:
    """Add to the bias of a layer what constant channels add that go."""
    gone = np.where(kept | np.isnan(value), 0.0, value)
    if not gone.any():
        return
    weight = editor.array(op.inputs[1]).astype(np.float64)
    if op.kind == LINEAR:
        added = gone @ weight
    else:
        added = np.einsum("oit,i->o", weight.reshape(*weight.shape[:2], -1), gone)
    if has_bias(op):
        bias = editor.array(op.inputs[2])
        total = bias.astype(np.float64) + added.reshape(bias.shape)
        editor.make_parameter(op.inputs[2], total.astype(bias.dtype))
        return
    dtype = editor.parameters[op.inputs[1]].dtype.numpy
    name = editor.add_parameter(f"{op.outputs[0]}.bias", added.astype(dtype))
    editor.replace(replace(op, inputs=(*op.inputs[:2], name)))


def _keep_bias(editor: GraphEditor, op: Operation, kept: Mask) -> None:
    if has_bias(op):
        _keep(editor, op.inputs[2], kept, len(editor.parameters[op.inputs[2]].shape) - 1)


def _keep(editor: GraphEditor, name: str, kept: Mask, axis: int) -> None:
    if not kept.all():
        editor.make_parameter(name, np.compress(kept, editor.array(name), axis=axis))


def _shrink(editor: GraphEditor, name: str, axis: int, count: int) -> None:
    """Write down the number of channels of a value, also where a Reshape is told it."""
    value = editor.values[name]
    assert value.shape is not None
    dims = list(value.shape)
    dims[axis] = count
    editor.values[name] = replace(value, shape=tuple(dims))
    op = editor.producer(name)
    if op is not None and op.kind == "Reshape":
        wanted = editor.array(op.inputs[1]).copy()
        if wanted[1] > 0:
            wanted[1] = count
            told = editor.add_parameter(f"{name}.shape", wanted)
            editor.replace(replace(op, inputs=(op.inputs[0], told)))
