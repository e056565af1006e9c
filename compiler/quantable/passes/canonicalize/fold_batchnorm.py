"""Fold BatchNormalization into Conv, ConvTranspose, Linear, or make it a Conv.

Before:
    x: f32[N,1,4,4]; w: f32[2,1,1,1] = [[[[1]]], [[[2]]]]; scale: f32[2] = [2, 3]
    shift: f32[2] = [1, 1]; mean: f32[2] = [1, 2]; var: f32[2] = [4, 9]
    a = Conv(x, w)
    y = BatchNormalization(a, scale, shift, mean, var) {epsilon=0.0}
    return y
After:
    x: f32[N,1,4,4]; y.weight: f32[2,1,1,1] = [[[[1]]], [[[2]]]]; y.bias: f32[2] = [0, -1]
    y = Conv(x, y.weight, y.bias)
    return y

Preconditions:
    1. Scale, shift, mean and variance are parameters.
    2. The producer is a Conv, a ConvTranspose or a Linear whose weight and bias are parameters,
       nothing else reads its result, and its channels lie on axis 1.
    3. Otherwise it becomes a depthwise Conv with a kernel of 1, for 1 to 3 spatial axes, else Mul
       and Add.

An Add of a constant behind what was folded is merged as well (see merge-bias).

Numerics: real-equal; ``s = scale / sqrt(var + epsilon)``, ``w * s`` and ``(b - mean) * s + shift``
are computed in float64 and rounded once.
See: Jacob et al., Quantization and Training of Neural Networks, section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from quantable.ir import Graph, GraphEditor, Operation
from quantable.ir.operation import Attribute
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.merge_bias import CHANNEL_AXIS, bias_of, merge_add, set_bias
from quantable.passes.canonicalize.rewriting import Float64, float_parameter, rank_of, sole_user

_Affine = tuple[Float64, Float64]


@dataclass(frozen=True)
class FoldBatchnorm(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "fold-batchnorm"
    summary: ClassVar[str] = (
        "fold BatchNormalization into Conv, ConvTranspose, Linear, or make it a Conv"
    )

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Fold in topological order, so that two in a row both go."""
        editor = GraphEditor(graph)
        folded = 0
        for op in context.rewrites.over(editor, graph.operations):
            if op.kind != "BatchNormalization":
                continue
            bn = editor.operations[op.name]
            affine = _affine(editor, bn)
            if affine is None:
                context.remarks.append((self.name, bn.where(), "stays: statistics are computed"))
                continue
            if not _folded(editor, bn, affine):
                _stand_alone(editor, bn, affine)
            folded += 1
            add = sole_user(editor, bn.outputs[0])
            if add is not None and add.kind == "Add":
                merge_add(editor, add)
        return editor.finish() if folded else graph


def _affine(editor: GraphEditor, bn: Operation) -> _Affine | None:
    """Return factor and shift of every channel in float64 (precondition 1)."""
    found = [float_parameter(editor, name) for name in bn.inputs[1:5]]
    held = [item for item in found if item is not None]
    if len(held) != 4:
        return None
    scale, shift, mean, variance = held
    factor = scale / np.sqrt(variance + bn.float_attribute("epsilon", 1e-5))
    return factor, shift - mean * factor


def _folded(editor: GraphEditor, bn: Operation, affine: _Affine) -> bool:
    """Precondition 2."""
    producer = editor.producer(bn.inputs[0])
    if producer is None or producer.kind not in CHANNEL_AXIS:
        return False
    if sole_user(editor, bn.inputs[0]) is None:
        return False
    if producer.kind == "quantable.Linear" and rank_of(editor, bn.inputs[0]) != 2:
        return False
    factor, shift = affine
    weight = float_parameter(editor, producer.inputs[1])
    bias = bias_of(editor, producer, factor.size)
    if weight is None or bias is None:
        return False
    scaled = _scaled(producer, weight, factor).astype(editor.array(producer.inputs[1]).dtype)
    name = editor.add_parameter(f"{bn.outputs[0]}.weight", scaled)
    set_bias(editor, producer, bn, bias * factor + shift, name)
    return True


def _scaled(producer: Operation, weight: Float64, factor: Float64) -> Float64:
    """Multiply the weight of every output channel.

    Conv: [O, ..]; Linear: [K, O]; ConvTranspose: [C, O / group, ..], where the rows of input
    channels belong to groups in order.
    """
    if producer.kind == "Conv":
        return weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
    if producer.kind == "quantable.Linear":
        return weight * factor
    group = producer.int_attribute("group", 1)
    split = weight.reshape(group, weight.shape[0] // group, *weight.shape[1:])
    by_group = factor.reshape(group, 1, -1, *(1,) * (weight.ndim - 2))
    return (split * by_group).reshape(weight.shape)


def _stand_alone(editor: GraphEditor, bn: Operation, affine: _Affine) -> None:
    """Precondition 3."""
    rank = rank_of(editor, bn.inputs[0]) or 0
    dtype = editor.array(bn.inputs[1]).dtype
    factor, shift = (part.astype(dtype) for part in affine)
    x, output = bn.inputs[0], bn.outputs[0]
    if rank in (3, 4, 5):
        ones = (1,) * (rank - 2)
        weight = editor.add_parameter(f"{output}.weight", factor.reshape(-1, 1, *ones))
        bias = editor.add_parameter(f"{output}.bias", shift)
        attributes: dict[str, Attribute] = {
            "dilations": ones, "group": factor.size, "kernel_shape": ones,
            "pads": (0,) * 2 * len(ones), "strides": ones,
        }  # fmt: skip
        editor.replace(
            replace(bn, kind="Conv", inputs=(x, weight, bias), outputs=(output,),
                    attributes=attributes)
        )  # fmt: skip
        return
    shape = (-1, *(1,) * max(rank - 2, 0))
    scale = editor.add_parameter(f"{output}.scale", factor.reshape(shape))
    offset = editor.add_parameter(f"{output}.shift", shift.reshape(shape))
    held = editor.values[output]
    scaled = editor.add_value(f"{output}.scaled", held.dtype, held.shape)
    editor.add_operation(f"{bn.name}.scale", "Mul", (x, scale), (scaled,), {}, bn.sources)
    editor.replace(
        replace(bn, kind="Add", inputs=(scaled, offset), outputs=(output,), attributes={})
    )
