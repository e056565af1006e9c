"""Quantize inputs of depthwise convolutions with one scale, for what a model did by channel.

Before:
    x: f32[N,2,4,4]; w: f32[2,2,1,1] = [[[[1]], [[2]]], [[[3]], [[4]]]]
    v: i8[2,1,1,1] = [[[[5]]], [[[6]]]]; vs: f32[2] = [1, 2]; vz: i8[2] = [0, 0]
    s: f32[2] = [0.5, 2]; z: u8[2] = [0, 0]
    c = Conv(x, w) {kernel_shape=[1,1]}
    r = Relu(c)
    q = QuantizeLinear(r, s, z) {axis=1}
    d = DequantizeLinear(q, s, z) {axis=1}
    vd = DequantizeLinear(v, vs, vz) {axis=0}
    y = Conv(d, vd) {group=2 kernel_shape=[1,1]}
    return y
After:
    x: f32[N,2,4,4]; w: f32[2,2,1,1] = [[[[4]], [[8]]], [[[3]], [[4]]]]
    v: i8[2,1,1,1] = [[[[5]]], [[[6]]]]; vd.scale: f32[2] = [0.25, 2]
    vd.zero_point: i8[2] = [0, 0]; q.scale: f32[] = 2; q.zero_point: u8[] = 0
    d.scale: f32[] = 2; d.zero_point: u8[] = 0
    c = Conv(x, w) {kernel_shape=[1,1]}
    r = Relu(c)
    q = QuantizeLinear(r, q.scale, q.zero_point)
    d = DequantizeLinear(q, d.scale, d.zero_point)
    vd = DequantizeLinear(v, vd.scale, vd.zero_point) {axis=0}
    y = Conv(d, vd) {group=2 kernel_shape=[1,1]}
    return y

The first channel of r is 4 times as large, and read with a quarter of the weight; all stored
integers are what they were. Kernels of integer targets take one scale a tensor; tools
for other runtimes quantize inputs of depthwise convolutions by channel.

Preconditions:
    1. QuantizeLinear by channel (axis 1) with one zero point. Only pairs read the tensor, and only
       depthwise convolutions read those.
    2. A Conv makes it, followed by Relu or by Clip from 0 to what the quantizer saturates at or
       more, which becomes Relu; nobody else reads what lies between.
    3. Weights and bias of both are constants, dequantized ones included, that nobody else reads.

Numerics: real-equal; each scale, and each real weight or bias, is rounded to float32 once.
See: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019,
section 4.1, for why channels can be scaled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from quantable.ir import Attribute, DType, Graph, GraphEditor, Operation
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.quantizer_forms import (
    DEQUANTIZE,
    QUANTIZE,
    Quantizer,
    quantizer_of,
)
from quantable.passes.canonicalize.rewriting import (
    rewritten,
    scalar_parameter,
    sole_user,
)

Factors = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FoldChannelScales(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "fold-channel-scales"
    summary: ClassVar[str] = "quantize inputs of depthwise convolutions with one scale"

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Start from every QuantizeLinear."""
        return rewritten(graph, context, self.name, (QUANTIZE,), _folded)


def _folded(editor: GraphEditor, op: Operation) -> str | None:
    quantizer = quantizer_of(editor, op)
    if isinstance(quantizer, str) or quantizer.axis is None:
        return None
    if quantizer.axis != 1 or (quantizer.zero_point != quantizer.zero_point[0]).any():
        return "its channels are not along axis 1, or have different zero points"
    ends = [user for user, _ in editor.uses(op.outputs[0])]
    readers = _readers(editor, op, ends, quantizer)
    if not readers:
        return "not only depthwise convolutions with constant weights read what it makes"
    chain = _chain(editor, op, quantizer)
    if not chain:
        return "no convolution with constant weights makes its input for it alone"
    scale = quantizer.scale.astype(np.float64)
    largest = scale.max()
    for one in chain[:-1]:
        editor.replace(replace(one, kind="Relu", inputs=one.inputs[:1], attributes={}))
    for name in chain[-1].inputs[1:]:
        _scale(editor, name, largest / scale)
    for reader in readers:
        _scale(editor, reader.inputs[1], scale / largest)
    for one in (op, *ends):
        _to_tensor(editor, one, quantizer, largest)
    return ""


def _readers(
    editor: GraphEditor, op: Operation, ends: list[Operation], quantizer: Quantizer
) -> list[Operation]:
    """Return the depthwise convolutions behind a pair; none where anything else reads it."""
    found = []
    if op.outputs[0] in editor.outputs or sole_user(editor, op.inputs[0]) is None:
        return []
    for end in ends:
        if end.kind != DEQUANTIZE or end.outputs[0] in editor.outputs:
            return []
        other = quantizer_of(editor, end)
        if isinstance(other, str) or other.key != quantizer.key:
            return []
        for reader, slot in editor.uses(end.outputs[0]):
            channels = quantizer.scale.size
            is_depthwise = reader.kind == "Conv" and reader.int_attribute("group", 1) == channels
            if slot or not is_depthwise or not _is_constant(editor, reader.inputs[1]):
                return []
            found.append(reader)
    return found


def _chain(editor: GraphEditor, op: Operation, quantizer: Quantizer) -> list[Operation]:
    """Return what makes the input of a quantizer, from behind to the convolution, or nothing."""
    found: list[Operation] = []
    value = op.inputs[0]
    while sole_user(editor, value) is not None:
        maker = editor.producer(value)
        if maker is None:
            return []
        found.append(maker)
        if maker.kind == "Conv":
            is_known = all(_is_constant(editor, name) for name in maker.inputs[1:] if name)
            return found if is_known else []
        if maker.kind != "Relu" and not _is_open(editor, maker, quantizer):
            return []
        value = maker.inputs[0]
    return []


def _is_open(editor: GraphEditor, op: Operation, quantizer: Quantizer) -> bool:
    """Whether a Clip is a Relu for a quantizer, which saturates where the Clip would."""
    if op.kind != "Clip" or len(op.inputs) != 3:
        return False
    low, high = (scalar_parameter(editor, name) for name in op.inputs[1:])
    if low != 0.0 or high is None:
        return False
    steps = np.rint(np.float32(high) / quantizer.scale) + quantizer.zero_point
    return bool((steps >= quantizer.dtype.maximum).all())


def _is_constant(editor: GraphEditor, name: str) -> bool:
    """Whether one operation alone reads a real parameter, or one that is dequantized."""
    if sole_user(editor, name) is None:
        return False
    if name in editor.parameters:
        return editor.values[name].dtype is DType.FLOAT32
    maker = editor.producer(name)
    if maker is None or maker.kind != DEQUANTIZE or maker.inputs[0] not in editor.parameters:
        return False
    quantizer = quantizer_of(editor, maker)
    if isinstance(quantizer, str) or quantizer.block_size:
        return False
    return quantizer.axis in (None, 0)


def _scale(editor: GraphEditor, name: str, channels: Factors) -> None:
    """Multiply a constant along its first axis, on which channels may have several places each."""
    if not name:
        return
    shape = editor.values[name].shape
    assert shape is not None
    count = int(shape[0])
    factors = np.repeat(channels, count // channels.size)
    maker = editor.producer(name)
    if maker is None:
        held = editor.array(name).astype(np.float64)
        scaled = held * factors.reshape(-1, *(1,) * (held.ndim - 1))
        editor.parameters[name] = editor.store.put(scaled.astype(np.float32))
        return
    quantizer = quantizer_of(editor, maker)
    assert isinstance(quantizer, Quantizer)
    scales = (np.broadcast_to(quantizer.scale, count) * factors).astype(np.float32)
    zeros = np.ascontiguousarray(np.broadcast_to(quantizer.zero_point, count))
    _put(editor, maker, scales, zeros, quantizer, {"axis": 0})


def _to_tensor(editor: GraphEditor, op: Operation, quantizer: Quantizer, scale: float) -> None:
    zero = quantizer.zero_point[:1].reshape(())
    _put(editor, op, np.asarray(scale, np.float32), zero, quantizer, {})


def _put(
    editor: GraphEditor, op: Operation, scale: npt.NDArray[np.float32],
    zero: npt.NDArray[np.int64], quantizer: Quantizer, attributes: dict[str, Attribute],
) -> None:  # fmt: skip
    """Give a quantizer other numbers."""
    rest = {name: held for name, held in op.attributes.items() if name != "axis"}
    names = [
        editor.add_parameter(f"{op.outputs[0]}.scale", scale),
        editor.add_parameter(f"{op.outputs[0]}.zero_point", zero, quantizer.dtype),
    ]
    editor.replace(replace(op, inputs=(op.inputs[0], *names), attributes={**rest, **attributes}))
