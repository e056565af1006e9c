"""Layers whose channels can be scaled together: who makes a channel, who reads it.

A channel may be divided by any positive number where it is made and multiplied by it where it is
read, if everything between does nothing but scale along. Values whose channels are one and the same
in this sense form a group: a union over operations that commute with scaling. A group is of use if
every value in it is made by a layer or by such an operation, and read by layers or such ones only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from quantable.ir import Graph, GraphEditor, Operation
from quantable.passes.canonicalize.rewriting import (
    Float64,
    is_float_parameter,
    scalar_parameter,
    sole_user,
)

LINEAR = "quantable.Linear"
LAYERS = frozenset({"Conv", LINEAR})
NORM = "LayerNormalization"
COMMUTING = frozenset({"Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool"})
JOINING = frozenset({"Add", "Sub"})
"""Scale along if both operands do."""


@dataclass(frozen=True)
class ChannelGroup:
    """Layers that share channels.

    Attributes:
        firsts: Layers that make the channels, in topological order; all of one kind.
        seconds: Layers that read them.
        bounds: Clip operations from zero to a number that lie between.
        values: Every value with these channels, in topological order.
    """

    firsts: tuple[Operation, ...]
    seconds: tuple[Operation, ...]
    bounds: tuple[Operation, ...]
    values: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the operations that a scale changes."""
        return tuple(dict.fromkeys(op.name for op in (*self.firsts, *self.bounds, *self.seconds)))

    @property
    def subject(self) -> tuple[str, ...]:
        """Names of the layers."""
        return tuple(dict.fromkeys(op.name for op in (*self.firsts, *self.seconds)))


@dataclass
class _Members:
    """What is found out about one group while the graph is walked."""

    firsts: list[Operation] = field(default_factory=list)
    seconds: list[Operation] = field(default_factory=list)
    bounds: list[Operation] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    is_open: bool = False


def channel_groups(
    graph: Graph,
    *,
    across_sums: bool = False,
    across_bounds: bool = False,
    with_norms: bool = False,
) -> list[ChannelGroup]:
    """Return the groups, in the order of their first layers.

    Args:
        graph: A float graph.
        across_sums: Let channels that are added or subtracted be one group.
        across_bounds: Let Clip from zero to a number lie within a group; its bound limits how its
            channels may be scaled, which is the caller's business.
        with_norms: Let LayerNormalization make channels: its scale and shift scale along.
    """
    editor = GraphEditor(graph)
    joined = _Union()
    passing = [op for op in graph.operations if _passes(editor, op, across_sums, across_bounds)]
    for op in passing:
        for name in _tensors(op):
            joined.unite(op.outputs[0], name)
    members: dict[str, _Members] = {}

    def group(value: str) -> _Members:
        return members.setdefault(joined.root(value), _Members())

    for name in (*graph.inputs, *graph.outputs):
        group(name).is_open = True
    names = {op.name for op in passing}
    for op in graph.operations:
        if op.name in names:
            group(op.outputs[0]).values.append(op.outputs[0])
            if op.kind == "Clip":
                group(op.outputs[0]).bounds.append(op)
        elif op.kind in LAYERS and has_own_parameters(editor, op):
            group(op.inputs[0]).seconds.append(op)
            group(op.outputs[0]).firsts.append(op)
            group(op.outputs[0]).values.append(op.outputs[0])
        elif with_norms and _is_norm(editor, op):
            group(op.inputs[0]).is_open = True
            group(op.outputs[0]).firsts.append(op)
            group(op.outputs[0]).values.append(op.outputs[0])
        else:
            for name in (*op.inputs, *op.outputs):
                group(name).is_open = True
    return [_finished(item) for item in members.values() if _is_closed(item)]


def upper_bound(editor: GraphEditor, op: Operation) -> float | None:
    """Return the bound of a Clip from zero to a positive number, None for any other."""
    if op.kind != "Clip" or len(op.inputs) != 3 or not all(op.inputs):
        return None
    low, high = (scalar_parameter(editor, name) for name in op.inputs[1:])
    return high if low == 0.0 and high is not None and 0 < high < float("inf") else None


def _passes(editor: GraphEditor, op: Operation, across_sums: bool, across_bounds: bool) -> bool:
    """Whether an operation scales along, channel by channel."""
    if len([name for name in op.outputs if name]) != 1:
        return False
    if op.kind in COMMUTING:
        return True
    if op.kind == "Clip":
        return across_bounds and upper_bound(editor, op) is not None
    if op.kind not in JOINING or not across_sums:
        return False
    shapes = {editor.values[name].shape for name in (*op.inputs, *op.outputs)}
    return not any(name in editor.parameters for name in op.inputs) and len(shapes) == 1


def _tensors(op: Operation) -> tuple[str, ...]:
    return op.inputs if op.kind in JOINING else op.inputs[:1]


def _is_closed(item: _Members) -> bool:
    kinds = {LINEAR if op.kind == NORM else op.kind for op in (*item.firsts, *item.seconds)}
    return not item.is_open and bool(item.firsts and item.seconds) and len(kinds) == 1


def _finished(item: _Members) -> ChannelGroup:
    return ChannelGroup(
        tuple(item.firsts), tuple(item.seconds), tuple(item.bounds), tuple(item.values)
    )


def _is_norm(editor: GraphEditor, op: Operation) -> bool:
    """Whether an operation normalizes the last axis, with a scale and a shift of its own."""
    if op.kind != NORM or not has_own_parameters(editor, op):
        return False
    shape, axis = editor.values[op.outputs[0]].shape, op.int_attribute("axis", -1)
    is_last = axis == -1 or (shape is not None and axis == len(shape) - 1)
    return is_last and len([name for name in op.outputs if name]) == 1


def has_own_parameters(editor: GraphEditor, op: Operation) -> bool:
    """Whether all that an operation reads besides its tensor are float parameters of its own."""
    held = [name for name in op.inputs[1:] if name]
    return bool(held) and all(
        is_float_parameter(editor, name) and sole_user(editor, name) is not None for name in held
    )


class _Union:
    """Union-find over the names of values."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def root(self, name: str) -> str:
        while (parent := self._parent.get(name, name)) != name:
            self._parent[name] = self._parent.get(parent, parent)
            name = parent
        return name

    def unite(self, first: str, second: str) -> None:
        self._parent[self.root(second)] = self.root(first)


@dataclass
class LayerSizes:
    """How large the parameters of a layer are; what scales its channels scales them.

    Attributes:
        weights: The largest of all taps, [group, outputs / group, inputs / group].
        bias: [outputs]; zeros where there is none.
    """

    weights: Float64
    bias: Float64

    @staticmethod
    def of(graph: Graph, op: Operation) -> LayerSizes:
        """Return the sizes of a layer's parameters."""
        weight = np.abs(graph.array(op.inputs[1]).astype(np.float64))
        if op.kind == "Conv":
            taps = weight.reshape(*weight.shape[:2], -1).max(axis=2)
            grouped = taps.reshape(op.int_attribute("group", 1), -1, weight.shape[1])
        else:
            grouped = weight.T[None] if weight.ndim == 2 else weight.reshape(1, -1, 1)
        bias = np.zeros(grouped.shape[0] * grouped.shape[1])
        if has_bias(op):
            bias = np.abs(graph.array(op.inputs[2]).astype(np.float64)).reshape(-1)
        return LayerSizes(grouped, bias)

    def made(self) -> Float64:
        """Return the largest weight of every output channel."""
        largest: Float64 = self.weights.max(axis=2)
        return largest.reshape(-1)

    def read(self) -> Float64:
        """Return the largest weight that multiplies every input channel."""
        largest: Float64 = self.weights.max(axis=1)
        return largest.reshape(-1)

    def scale_made(self, factor: Float64) -> None:
        """Scale what makes the output channels."""
        self.weights = self.weights * factor.reshape(len(self.weights), -1, 1)
        self.bias = self.bias * factor

    def scale_read(self, factor: Float64) -> None:
        """Scale what reads the input channels."""
        self.weights = self.weights * factor.reshape(len(self.weights), 1, -1)


def has_bias(op: Operation) -> bool:
    """Whether a layer has a bias."""
    return len(op.inputs) > 2 and bool(op.inputs[2])


def scale_channels(editor: GraphEditor, group: ChannelGroup, scale: Float64) -> None:
    """Divide the channels of a group by `scale` where they are made, multiply where they are read.

    Bounds between stay as they are.
    """
    for op in group.firsts:
        scale_outputs(editor, op, 1.0 / scale)
    for op in group.seconds:
        scale_inputs(editor, op, scale)


def scale_outputs(editor: GraphEditor, op: Operation, factor: Float64) -> None:
    """Scale weight and bias of a layer along its output channels."""
    weight = _array(editor, op.inputs[1])
    along = factor.reshape(-1, *[1] * (weight.ndim - 1)) if op.kind == "Conv" else factor
    put_parameter(editor, op.inputs[1], weight * along)
    if has_bias(op):
        bias = _array(editor, op.inputs[2])
        put_parameter(editor, op.inputs[2], bias * factor.reshape(bias.shape))


def scale_inputs(editor: GraphEditor, op: Operation, factor: Float64) -> None:
    """Scale the weight of a layer along its input channels."""
    weight = _array(editor, op.inputs[1])
    if op.kind != "Conv":
        put_parameter(editor, op.inputs[1], weight * factor[:, None])
        return
    group = op.int_attribute("group", 1)
    by_group = weight.reshape(group, -1, weight.shape[1], *weight.shape[2:])
    along = factor.reshape(group, 1, weight.shape[1], *[1] * (weight.ndim - 2))
    put_parameter(editor, op.inputs[1], (by_group * along).reshape(weight.shape))


def put_parameter(editor: GraphEditor, name: str, contents: Float64) -> None:
    """Replace the contents of a parameter; its element type stays."""
    editor.make_parameter(name, contents.astype(editor.parameters[name].dtype.numpy))


def _array(editor: GraphEditor, name: str) -> Float64:
    return editor.array(name).astype(np.float64)


def layers_of(groups: Iterable[ChannelGroup]) -> dict[str, Operation]:
    """Return every layer of some groups by name, in order."""
    return {op.name: op for group in groups for op in (*group.firsts, *group.seconds)}
