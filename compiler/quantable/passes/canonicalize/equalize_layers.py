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

Preconditions:
    1. Conv or Linear makes the channels, Conv or Linear of the same kind reads them, both with
       weights and biases of their own, and nobody else reads what lies between.
    2. Between them are only operations for which ``f(s * x) = s * f(x)`` channel by channel: Relu,
       LeakyRelu and pooling. A Clip with an upper bound is none; a remark names it.
    3. A channel without weights on one side keeps its range.

Numerics: real-equal.
See: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019,
section 4.1; PPQ's LayerwiseEqualizationPass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from quantable.ir import Graph, GraphEditor, Operation, OptionError
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.rewriting import Float64, is_float_parameter, sole_user

_LAYERS = frozenset({"Conv", "quantable.Linear"})
_SCALES = frozenset({"Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool"})
_SETTLED = 1e-4


@dataclass(frozen=True)
class EqualizeLayers(Pass):
    """See the module's docstring.

    Attributes:
        iterations: Most times that every pair is balanced.
        bias: Let a bias count as a weight of its channel, so that it does not grow out of range.
    """

    name: ClassVar[str] = "equalize-layers"
    summary: ClassVar[str] = "balance the weights on both sides of each channel"
    iterations: int = 40
    bias: bool = False

    def check(self) -> None:
        if self.iterations < 1:
            raise OptionError(f"iterations: expected at least 1, found {self.iterations}")

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Balance every pair of layers, then scale their parameters."""
        editor = GraphEditor(graph)
        pairs = list(_pairs(editor, context))
        changes = 0
        for (first, second), scale in zip(pairs, self._balanced(editor, pairs), strict=True):
            if (scale != 1.0).any() and context.rewrites.admit(first.name, second.name):
                _scale_outputs(editor, first, 1.0 / scale)
                _scale_inputs(editor, second, scale)
                changes += 1
        return editor.finish() if changes else graph

    def _balanced(
        self, editor: GraphEditor, pairs: list[tuple[Operation, Operation]]
    ) -> list[Float64]:
        """Return what the channels of each pair are divided by; float32 numbers."""
        layers = {
            op.name: _Layer.of(editor, op, with_bias=self.bias) for pair in pairs for op in pair
        }
        total = [np.ones(layers[first.name].made().size) for first, _ in pairs]
        for _ in range(self.iterations):
            moved = 0.0
            for number, (first, second) in enumerate(pairs):
                left, right = layers[first.name].made(), layers[second.name].read()
                is_alive = (left > 0) & (right > 0)
                step = np.sqrt(np.divide(left, right, out=np.ones_like(left), where=is_alive))
                layers[first.name].scale_made(1.0 / step)
                layers[second.name].scale_read(step)
                total[number] = total[number] * step
                moved = max(moved, float(np.abs(np.log(step)).max(initial=0.0)))
            if moved < _SETTLED:
                break
        return [scale.astype(np.float32).astype(np.float64) for scale in total]


@dataclass
class _Layer:
    """How large the weights of a layer are; what scales its channels scales them.

    Attributes:
        weights: The largest of all taps, [group, outputs / group, inputs / group].
        bias: [outputs]; zeros where it does not count.
    """

    weights: Float64
    bias: Float64

    @staticmethod
    def of(editor: GraphEditor, op: Operation, *, with_bias: bool = False) -> _Layer:
        """Return the sizes of a layer's parameters."""
        weight = np.abs(_array(editor, op.inputs[1]))
        if op.kind == "Conv":
            taps = weight.reshape(*weight.shape[:2], -1).max(axis=2)
            grouped = taps.reshape(op.int_attribute("group", 1), -1, weight.shape[1])
        else:
            grouped = weight.T[None]
        bias = np.zeros(grouped.shape[0] * grouped.shape[1])
        if with_bias and _has_bias(op):
            bias = np.abs(_array(editor, op.inputs[2])).reshape(-1)
        return _Layer(grouped, bias)

    def made(self) -> Float64:
        """Return the largest weight of every output channel."""
        largest: Float64 = self.weights.max(axis=2)
        return np.maximum(largest.reshape(-1), self.bias)

    def read(self) -> Float64:
        """Return the largest weight that multiplies every input channel."""
        largest: Float64 = self.weights.max(axis=1)
        return largest.reshape(-1)

    def scale_made(self, factor: Float64) -> None:
        self.weights = self.weights * factor.reshape(len(self.weights), -1, 1)
        self.bias = self.bias * factor

    def scale_read(self, factor: Float64) -> None:
        self.weights = self.weights * factor.reshape(len(self.weights), 1, -1)


def _pairs(editor: GraphEditor, context: PassContext) -> Iterator[tuple[Operation, Operation]]:
    """Yield the layers that share channels, in topological order."""
    for first in editor.operations.values():
        if first.kind not in _LAYERS or not _has_own_parameters(editor, first):
            continue
        second = sole_user(editor, first.outputs[0])
        while second is not None and second.kind in _SCALES:
            second = sole_user(editor, second.outputs[0])
        if second is None or not _has_own_parameters(editor, second):
            continue
        if second.kind == "Clip":
            text = f"not balanced: {second.where()} bounds the channels"
            context.remarks.append((EqualizeLayers.name, first.where(), text))
        elif second.kind == first.kind:
            yield first, second


def _has_own_parameters(editor: GraphEditor, op: Operation) -> bool:
    held = op.inputs[1:]
    return all(
        is_float_parameter(editor, name) and sole_user(editor, name) is not None
        for name in held
        if name
    ) and bool(held and held[0])


def _has_bias(op: Operation) -> bool:
    return len(op.inputs) > 2 and bool(op.inputs[2])


def _array(editor: GraphEditor, name: str) -> Float64:
    return editor.array(name).astype(np.float64)


def _scale_outputs(editor: GraphEditor, op: Operation, factor: Float64) -> None:
    weight = _array(editor, op.inputs[1])
    along = factor.reshape(-1, *[1] * (weight.ndim - 1)) if op.kind == "Conv" else factor
    _put(editor, op.inputs[1], weight * along)
    if _has_bias(op):
        bias = _array(editor, op.inputs[2])
        _put(editor, op.inputs[2], bias * factor.reshape(bias.shape))


def _scale_inputs(editor: GraphEditor, op: Operation, factor: Float64) -> None:
    weight = _array(editor, op.inputs[1])
    if op.kind != "Conv":
        _put(editor, op.inputs[1], weight * factor[:, None])
        return
    group = op.int_attribute("group", 1)
    by_group = weight.reshape(group, -1, weight.shape[1], *weight.shape[2:])
    along = factor.reshape(group, 1, weight.shape[1], *[1] * (weight.ndim - 2))
    _put(editor, op.inputs[1], (by_group * along).reshape(weight.shape))


def _put(editor: GraphEditor, name: str, contents: Float64) -> None:
    editor.make_parameter(name, contents.astype(editor.parameters[name].dtype.numpy))
