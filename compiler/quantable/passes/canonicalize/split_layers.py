"""Make two layers of one whose weights reach far, and add what they give.

Before:
    x: f32[N,4]; w: f32[4,1] = [[1], [-1], [1], [16]]; b: f32[1] = [1]
    y = quantable.Linear(x, w, b)
    return y
After:
    x: f32[N,4]; w: f32[4,1] = [[1], [-1], [1], [8]]; b: f32[1] = [1]
    y.weight: f32[4,1] = [[0], [0], [0], [8]]
    y.near = quantable.Linear(x, w, b)
    y.far = quantable.Linear(x, y.weight)
    y = Add(y.near, y.far)
    return y

Half of the largest weight bounds the weights of the first layer; the second one has what is cut
off, zero almost everywhere. The scales of both are half of what it was. The layer costs twice the
work, so that it is tried for the few whose range is largest, and kept where the network as a whole
gains: the sum has two operands that are quantized, too.

Preconditions:
    1. Conv or Linear with a weight of its own.
    2. Its largest weight is more than ``threshold`` times the median of all that are not zero, or
       it is named by ``layers``.

Numerics: real-equal.
See: PPQ's HorizontalLayerSplitPass, whose "balance" gives both layers half of every weight (with
the same rounding, twice), and whose "random" draws how much.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from quantable.ir import DType, Graph, GraphEditor, Operation, OptionError, UnknownNameError
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.channel_groups import (
    LAYERS,
    has_bias,
    has_own_parameters,
    put_parameter,
)
from quantable.passes.canonicalize.rewriting import Float64
from quantable.passes.canonicalize.trials import Trials, judged_on, needed_judge


@dataclass(frozen=True)
class SplitLayers(Pass):
    """See the module's docstring.

    Attributes:
        threshold: How many times the median weight the largest one is.
        method: "outliers" cuts large weights off, "random" gives each layer a random part of each
            weight, so that the errors of two roundings average out.
        layers: Names of the layers to try; empty for all beyond the threshold.
        most: Most layers that are split.
        seed: Of the random parts.
        gain: Part of the error by which it has to fall: more work has to pay.
    """

    name: ClassVar[str] = "split-layers"
    summary: ClassVar[str] = "make two added layers of one whose weights reach far"
    threshold: float = 8.0
    method: Literal["outliers", "random"] = "outliers"
    layers: tuple[str, ...] = ()
    most: int = 4
    seed: int = 0
    gain: float = 0.05

    def check(self) -> None:
        if not 0.0 <= self.gain < 1.0:
            raise OptionError(f"gain: expected at least 0, less than 1, found {self.gain:g}")
        if not self.threshold >= 1.0:
            raise OptionError(f"threshold: expected at least 1, found {self.threshold:g}")
        if self.most < 1:
            raise OptionError(f"most: expected at least 1, found {self.most}")
        if self.seed < 0:
            raise OptionError(f"seed: expected at least 0, found {self.seed}")

    def data_digest(self, context: PassContext) -> str:
        return judged_on(context)

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Try the layers whose range is largest first."""
        needed_judge(context, self.name)
        found = self._candidates(graph)
        if not found:
            return graph
        trials = Trials(graph, context, self.name, self.gain)
        accepted = 0
        for index, (reach, op) in enumerate(found):
            candidate = self._split(trials.graph, op, index)
            text = f"split by {self.method}: the largest weight is {reach:.3g} times the usual one"
            accepted += trials.offer(candidate, (op.name,), text)
            if accepted == self.most:
                break
        return trials.graph

    def _candidates(self, graph: Graph) -> list[tuple[float, Operation]]:
        """Return (largest weight / median, layer), the largest first."""
        for name in self.layers:
            if name not in graph.operation_by_name:
                raise UnknownNameError("operation", name, graph.operation_by_name)
        editor = GraphEditor(graph)
        found = []
        for op in graph.operations:
            if op.kind not in LAYERS or not has_own_parameters(editor, op):
                continue
            weight = np.abs(graph.array(op.inputs[1]).astype(np.float64))
            if not weight.any():
                continue
            reach = float(weight.max() / np.median(weight[weight > 0]))
            if (op.name in self.layers) if self.layers else reach > self.threshold:
                found.append((reach, op))
        return sorted(found, key=lambda item: -item[0])

    def _split(self, graph: Graph, op: Operation, index: int) -> Graph:
        editor = GraphEditor(graph)
        weight = graph.array(op.inputs[1]).astype(np.float64)
        near, far = self._parts(weight, index)
        put_parameter(editor, op.inputs[1], near)
        dtype: DType = editor.parameters[op.inputs[1]].dtype
        rest = editor.add_parameter(f"{op.outputs[0]}.weight", far.astype(dtype.numpy))
        value = editor.values[op.outputs[0]]
        names = [
            editor.add_value(f"{value.name}.{part}", value.dtype, value.shape)
            for part in ("near", "far")
        ]
        inputs = op.inputs if has_bias(op) else op.inputs[:2]
        editor.replace(replace(op, inputs=inputs, outputs=(names[0],)))
        second = (op.inputs[0], rest)
        editor.add_operation(names[1], op.kind, second, (names[1],), op.attributes, op.sources)
        editor.add_operation(f"{op.name}.sum", "Add", names, (value.name,), {}, op.sources)
        return editor.finish()

    def _parts(self, weight: Float64, index: int) -> tuple[Float64, Float64]:
        """Return two float32 weights whose sum is the weight."""
        if self.method == "outliers":
            limit = np.abs(weight).max() / 2.0
            near = np.clip(weight, -limit, limit)
        else:
            generator = np.random.Generator(np.random.Philox(key=self.seed, counter=index << 64))
            near = weight * generator.uniform(0.25, 0.75, weight.shape)
        near = near.astype(np.float32).astype(np.float64)
        return near, weight - near
