"""Which channels of a graph are one and the same: what removes one removes the others.

Operations that work channel by channel link a channel of their input to one of their output; a sum
links both operands. A layer that mixes channels ends the links: it makes some and reads others.
What is not known here pins the channels that it touches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from quantable.ir import Graph, GraphEditor, Operation
from quantable.passes.canonicalize.channel_groups import LINEAR, has_own_parameters

Channels = npt.NDArray[np.int64]
UNARY = frozenset(
    {
        "Relu", "LeakyRelu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool",
        "GlobalMaxPool", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Gelu",
    }
)  # fmt: skip
"""Make a channel of the same one of their first input."""
SUMS = frozenset({"Add", "Sub"})


class ChannelLinks:
    """Channels of values, numbered through, and classes of those that are one.

    Attributes:
        axes: The channel axis of every value whose channels are known.
        flattenings: Names of the Reshapes that make one channel as many as it has positions.
        layers: Layers that mix channels and are understood, by name.
        depthwise: Convolutions of one channel each, by name.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._editor = GraphEditor(graph)
        self.axes: dict[str, int] = {}
        self.flattenings: set[str] = set()
        self.layers: dict[str, Operation] = {}
        self.depthwise: dict[str, Operation] = {}
        self._first: dict[str, int] = {}
        self._pinned: set[str] = set()
        self._parents: list[int] = [0]  # class 0 is pinned
        for op in graph.operations:
            self._visit(op)
        for name in (*graph.inputs, *graph.outputs):
            self._pin(name)
        self._roots = np.array([self._root(index) for index in range(len(self._parents))])

    def classes(self, value: str) -> Channels:
        """Return the class of every channel of a value; 0 are those that have to stay."""
        first, count = self._first[value], self._count(value)
        return self._roots[first : first + count]

    def __len__(self) -> int:
        return len(self._parents)

    def _visit(self, op: Operation) -> None:
        if op.kind in ("Conv", LINEAR) and self._visit_layer(op):
            return
        if op.kind in UNARY and self._is_single(op) and op.inputs[0] in self._first:
            parameters = all(not name or name in self._graph.parameters for name in op.inputs[1:])
            if parameters and self._make_like(op, op.inputs[0]):
                return
        if op.kind in SUMS and self._visit_sum(op):
            return
        if op.kind == "Concat" and self._visit_concat(op):
            return
        if op.kind == "Reshape" and self._visit_flattening(op):
            return
        for name in (*op.inputs, *op.outputs):
            self._pin(name)

    def _visit_layer(self, op: Operation) -> bool:
        x, y = op.inputs[0], op.outputs[0]
        shape, out = self._graph.values[x].shape, self._graph.values[y].shape
        if not has_own_parameters(self._editor, op) or shape is None or out is None:
            return False
        axis = 1 if op.kind == "Conv" else len(shape) - 1
        group = op.int_attribute("group", 1)
        if not self._make(x, axis) or not self._make(y, axis):
            return False
        if group == 1:
            self.layers[op.name] = op
            return True
        if group == self._count(x) == self._count(y):
            self.depthwise[op.name] = op
            self._unite(y, self._numbers(x))
            return True
        return False

    def _visit_sum(self, op: Operation) -> bool:
        a, b = op.inputs
        shapes = {self._graph.values[name].shape for name in (a, b, op.outputs[0])}
        if len(shapes) > 1 or a not in self._first or b not in self._first:
            return False
        if not self._make_like(op, a) or self.axes[a] != self.axes[b]:
            return False
        self._unite(op.outputs[0], self._numbers(b))
        return True

    def _visit_concat(self, op: Operation) -> bool:
        y = op.outputs[0]
        shape = self._graph.values[y].shape
        if shape is None or any(name not in self._first for name in op.inputs):
            return False
        axis = op.int_attribute("axis") % len(shape)
        if any(self.axes[name] != axis for name in op.inputs) or not self._make(y, axis):
            return False
        self._unite(y, np.concatenate([self._numbers(name) for name in op.inputs]))
        return True

    def _visit_flattening(self, op: Operation) -> bool:
        """[N, C, ...] to [N, C * ...]: one channel becomes as many as it has positions."""
        x, y = op.inputs[0], op.outputs[0]
        shape, out = self._graph.values[x].shape, self._graph.values[y].shape
        if x not in self._first or self.axes[x] != 1 or op.inputs[1] not in self._graph.parameters:
            return False
        if shape is None or out is None or len(out) != 2 or shape[0] != out[0]:
            return False
        spatial = [dim for dim in shape[2:] if isinstance(dim, int)]
        positions = math.prod(spatial)
        if len(spatial) != len(shape) - 2 or out[1] != self._count(x) * positions:
            return False
        if not self._make(y, 1):
            return False
        self._unite(y, np.repeat(self._numbers(x), positions))
        self.flattenings.add(op.name)
        return True

    def _is_single(self, op: Operation) -> bool:
        return len([name for name in op.outputs if name]) == 1

    def _make_like(self, op: Operation, x: str) -> bool:
        y = op.outputs[0]
        if not self._make(y, self.axes[x]) or self._count(y) != self._count(x):
            return False
        self._unite(y, self._numbers(x))
        return True

    def _make(self, value: str, axis: int) -> bool:
        """Number the channels of a value; return whether they are numbered along this axis."""
        if value in self._first:
            return self.axes[value] == axis
        shape = self._graph.values[value].shape
        if shape is None or value in self._graph.parameters or not isinstance(shape[axis], int):
            return False
        self.axes[value] = axis
        self._first[value] = len(self._parents)
        fresh = range(len(self._parents), len(self._parents) + int(shape[axis]))
        self._parents += [0] * len(fresh) if value in self._pinned else fresh
        return True

    def _count(self, value: str) -> int:
        shape = self._graph.values[value].shape
        assert shape is not None
        return int(shape[self.axes[value]])

    def _numbers(self, value: str) -> Channels:
        return np.arange(self._first[value], self._first[value] + self._count(value))

    def _root(self, number: int) -> int:
        parents = self._parents
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    def _unite(self, value: str, others: Sequence[int] | Channels) -> None:
        for number, other in zip(self._numbers(value), others, strict=True):
            low, high = sorted((self._root(int(number)), self._root(int(other))))
            self._parents[high] = low

    def _pin(self, value: str) -> None:
        self._pinned.add(value)  # also where its channels are numbered later, by a reader
        if value in self._first:
            for number in self._numbers(value):
                self._parents[self._root(int(number))] = 0
