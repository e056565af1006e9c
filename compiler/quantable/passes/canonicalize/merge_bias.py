"""Merge an Add of a constant into the bias of the producer.

Before:
    x: f32[N,3,8,8]; w: f32[2,3,1,1] = random; c: f32[2,1,1] = [[[1]], [[2]]]
    a = Conv(x, w)
    y = Add(a, c)
    return y
After:
    x: f32[N,3,8,8]; w: f32[2,3,1,1] = random; y.bias: f32[2] = [1, 2]
    y = Conv(x, w, y.bias)
    return y

Preconditions:
    1. The producer is a Conv, a ConvTranspose or a Linear, and nothing else reads its result.
    2. The constant is a float scalar, or one number a channel (axis 1; the last axis of a Linear),
       and does not widen the result.
    3. A bias that is there already is a parameter.

Numerics: real-equal; two biases are added in float64 and rounded once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from quantable.ir import Graph, GraphEditor, Operation
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.rewriting import (
    Float64,
    float_parameter,
    merged_sources,
    rank_of,
    rewritten,
    sole_user,
)

CHANNEL_AXIS = {"Conv": 1, "ConvTranspose": 1, "quantable.Linear": -1}
"""Axis of the result that a bias lies along."""


@dataclass(frozen=True)
class MergeBias(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "merge-bias"
    summary: ClassVar[str] = "merge an Add of a constant into the bias of the producer"

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Merge every Add that can be, in topological order."""
        return rewritten(graph, context, self.name, ("Add",), merge_add)


def merge_add(editor: GraphEditor, add: Operation) -> str | None:
    """Merge an Add into its producer.

    Returns:
        '' where it was done, None where there is nothing to merge, else why it was declined.
    """
    for value, constant in (add.inputs, add.inputs[::-1]):
        producer = editor.producer(value)
        if constant in editor.parameters and producer and producer.kind in CHANNEL_AXIS:
            return _merged(editor, producer, add, constant)
    return None


def _merged(editor: GraphEditor, producer: Operation, add: Operation, constant: str) -> str:
    if sole_user(editor, producer.outputs[0]) is None:
        return "something else reads the result of its producer"
    channels = channel_count(editor, producer)
    added = _channel_values(editor, producer, constant, channels)
    if added is None or channels is None:
        return "the constant is not one number a channel"
    bias = bias_of(editor, producer, channels)
    if bias is None:
        return "the bias of its producer is computed"
    set_bias(editor, producer, add, bias + added)
    return ""


def channel_count(editor: GraphEditor, operation: Operation) -> int | None:
    """Return the number of output channels."""
    shape = editor.values[operation.outputs[0]].shape
    found = None if shape is None else shape[CHANNEL_AXIS[operation.kind]]
    return found if isinstance(found, int) else None


def bias_of(editor: GraphEditor, operation: Operation, channels: int) -> Float64 | None:
    """Return the bias in float64, zeros where there is none; None where it is no parameter."""
    if len(operation.inputs) < 3 or not operation.inputs[2]:
        return np.zeros(channels)
    return float_parameter(editor, operation.inputs[2])


def set_bias(
    editor: GraphEditor, operation: Operation, last: Operation, bias: Float64, weight: str = ""
) -> None:
    """Let an operation do what a following one did, by another bias (and weight).

    Args:
        editor: Holds both.
        operation: The producer.
        last: The operation that is removed; its output is the producer's from now on.
        bias: In float64; it is rounded to the type of the weight.
        weight: A new weight, '' for the present one.
    """
    output = last.outputs[0]
    held = weight or operation.inputs[1]
    dtype = editor.values[held].dtype.numpy
    name = editor.add_parameter(f"{output}.bias", bias.astype(dtype))
    editor.remove(last)
    changed = replace(
        operation, inputs=(operation.inputs[0], held, name), outputs=(output,),
        sources=merged_sources(operation, last),
    )  # fmt: skip
    editor.replace(changed)


def _channel_values(
    editor: GraphEditor, producer: Operation, constant: str, channels: int | None
) -> Float64 | None:
    """Return the constant as one number a channel (precondition 2)."""
    values, rank = float_parameter(editor, constant), rank_of(editor, producer.outputs[0])
    if values is None or rank is None or channels is None or values.ndim > rank:
        return None
    full = values.reshape((1,) * (rank - values.ndim) + values.shape)
    axis = CHANNEL_AXIS[producer.kind] % rank
    others = [size for index, size in enumerate(full.shape) if index != axis]
    if any(size != 1 for size in others) or full.shape[axis] not in (1, channels):
        return None
    return np.broadcast_to(full.reshape(-1), (channels,))
