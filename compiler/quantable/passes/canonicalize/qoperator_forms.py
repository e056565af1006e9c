"""What operations on integers with scales do, as a real operation between quantizers: one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from quantable.ir import Attribute, DType, GraphEditor, Operation, Shape
from quantable.passes.base import Array
from quantable.passes.canonicalize.quantizer_forms import DEQUANTIZE, QUANTIZE

_DOMAIN = "com.microsoft."


@dataclass(frozen=True, slots=True)
class Operand:
    """One operand of the real operation.

    Attributes:
        value: The integers, or what is real already.
        scale, zero_point: Names of parameters; '' for a value that is not dequantized.
        axis: That of the channels, where the scale is a vector.
        block_size: Of a weight in blocks.
    """

    value: str
    scale: str = ""
    zero_point: str = ""
    axis: int = 0
    block_size: int = 0


@dataclass(frozen=True, slots=True)
class Form:
    """A real operation between quantizers.

    Attributes:
        kind, attributes: Of the real operation.
        operands: Its inputs.
        scale, zero_point: Of its result; '' where that stays real.
    """

    kind: str
    operands: tuple[Operand, ...]
    scale: str = ""
    zero_point: str = ""
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    def write(self, editor: GraphEditor, op: Operation) -> None:
        """Put the operation, with its quantizers, in the place of one on integers."""
        result = op.outputs[0]
        inputs = tuple(
            _dequantized(editor, op, slot, operand) for slot, operand in enumerate(self.operands)
        )
        if not self.scale:
            real = replace(op, kind=self.kind, inputs=inputs, attributes=self.attributes)
            editor.replace(real)
            return
        made = editor.add_value(f"{result}.real", DType.FLOAT32, editor.values[result].shape)
        real = replace(
            op, kind=self.kind, inputs=inputs, outputs=(made,), attributes=self.attributes
        )
        editor.replace(real)
        constants = (self.scale, self.zero_point) if self.zero_point else (self.scale,)
        editor.add_operation(
            f"{op.name}.{QUANTIZE}", QUANTIZE, (made, *constants), (result,), {}, op.sources
        )


def _dequantized(editor: GraphEditor, op: Operation, slot: int, operand: Operand) -> str:
    if not operand.scale:
        return operand.value
    constants = [name for name in (operand.scale, operand.zero_point) if name]
    attributes: dict[str, Attribute] = {}
    ref = editor.parameters.get(operand.scale)
    if operand.block_size:
        attributes = {"axis": operand.axis, "block_size": operand.block_size}
    elif ref is not None and ref.shape != ():
        attributes = {"axis": operand.axis}
    shape: Shape | None = editor.values[operand.value].shape
    name = editor.add_value(f"{op.outputs[0]}.in{slot}", DType.FLOAT32, shape)
    editor.add_operation(
        f"{op.name}.in{slot}", DEQUANTIZE, (operand.value, *constants), (name,), attributes,
        op.sources,
    )  # fmt: skip
    return name


def _at(op: Operation, slot: int) -> str:
    return op.inputs[slot] if slot < len(op.inputs) else ""


def _kept(op: Operation, *dropped: str) -> dict[str, Attribute]:
    return {name: value for name, value in op.attributes.items() if name not in dropped}


def _operand(op: Operation, slot: int, axis: int = 0) -> Operand:
    """Return the operand whose value, scale and zero point lie in three slots from `slot` on."""
    return Operand(_at(op, slot), _at(op, slot + 1), _at(op, slot + 2), axis)


def _bias(
    editor: GraphEditor, op: Operation, slot: int, scales: tuple[str, str], alpha: float = 1.0
) -> Operand | str:
    """Return the bias, whose scale is the product of both scales and of alpha."""
    if any(name not in editor.parameters for name in scales):
        return "it has a bias, and a scale is computed"
    arrays = [editor.array(name).astype(np.float32) for name in scales]
    product = np.float32(alpha) * arrays[0].reshape(-1) * arrays[1].reshape(-1)
    shaped = product if product.size > 1 or arrays[1].shape else product.reshape(())
    return Operand(_at(op, slot), editor.add_parameter(f"{op.outputs[0]}.bias_scale", shaped))


def _conv(editor: GraphEditor, op: Operation) -> Form | str:
    if op.int_attribute("channels_last"):
        return "its channels are last"
    operands: tuple[Operand, ...] = (_operand(op, 0), _operand(op, 3))
    if _at(op, 8):
        bias = _bias(editor, op, 8, (op.inputs[1], op.inputs[4]))
        if isinstance(bias, str):
            return bias
        operands = (*operands, bias)
    return Form("Conv", operands, op.inputs[6], op.inputs[7], _kept(op, "channels_last"))


def _matmul(editor: GraphEditor, op: Operation) -> Form | str:
    ranks = [len(editor.values[op.inputs[slot]].shape or ()) for slot in (0, 3)]
    if any(rank < 2 for rank in ranks):
        return "an operand is no matrix"
    left, right = _operand(op, 0, ranks[0] - 2), _operand(op, 3, ranks[1] - 1)
    for name in (left.scale, right.scale):
        ref = editor.parameters.get(name)
        if ref is not None and len(ref.shape) > 1:
            return "its scales are no vector"
    return Form("MatMul", (left, right), op.inputs[6], op.inputs[7])


def _gemm(editor: GraphEditor, op: Operation) -> Form | str:
    alpha = op.float_attribute("alpha", 1.0)
    weight = _operand(op, 3, 0 if op.int_attribute("transB") else 1)
    operands: tuple[Operand, ...] = (_operand(op, 0), weight)
    if _at(op, 6):
        bias = _bias(editor, op, 6, (op.inputs[1], op.inputs[4]), alpha)
        if isinstance(bias, str):
            return bias
        rank = len(editor.values[bias.value].shape or ())
        operands = (*operands, replace(bias, axis=max(rank - 1, 0)))
    return Form("Gemm", operands, _at(op, 7), _at(op, 8), dict(op.attributes))


def _binary(kind: str) -> Callable[[GraphEditor, Operation], Form | str]:
    def read(editor: GraphEditor, op: Operation) -> Form | str:
        del editor
        return Form(kind, (_operand(op, 0), _operand(op, 3)), op.inputs[6], _at(op, 7))

    return read


def _unary(kind: str, *dropped: str) -> Callable[[GraphEditor, Operation], Form | str]:
    def read(editor: GraphEditor, op: Operation) -> Form | str:
        del editor
        if op.int_attribute("channels_last"):
            return "its channels are last"
        attributes = _kept(op, "channels_last", *dropped)
        return Form(kind, (_operand(op, 0),), op.inputs[3], _at(op, 4), attributes)

    return read


def _softmax(editor: GraphEditor, op: Operation) -> Form | str:
    rank = len(editor.values[op.inputs[0]].shape or ())
    axis = op.int_attribute("axis", -1)
    if op.int_attribute("opset", 13) < 13 and axis not in (-1, rank - 1):
        return "it is a Softmax over several axes, as before opset 13"
    form = _unary("Softmax", "opset")(editor, op)
    return form if isinstance(form, str) else replace(form, attributes={"axis": axis})


def _concat(editor: GraphEditor, op: Operation) -> Form | str:
    del editor
    operands = tuple(_operand(op, slot) for slot in range(2, len(op.inputs), 3))
    return Form("Concat", operands, op.inputs[0], op.inputs[1], dict(op.attributes))


def _where(editor: GraphEditor, op: Operation) -> Form | str:
    del editor
    operands = (Operand(op.inputs[0]), _operand(op, 1), _operand(op, 4))
    return Form("Where", operands, op.inputs[7], op.inputs[8])


def _matmul_bits(editor: GraphEditor, op: Operation) -> Form | str:
    """Return the product with a weight [K, N] whose blocks lie along K."""
    weight = _unpacked(editor, op)
    if isinstance(weight, str):
        return weight
    operands = (Operand(op.inputs[0]), weight)
    if not _at(op, 5):
        return Form("MatMul", operands)
    return "it has a bias"


def _unpacked(editor: GraphEditor, op: Operation) -> Operand | str:
    bits, block = op.int_attribute("bits", 4), op.int_attribute("block_size")
    names = [name for name in op.inputs[1:] if name]
    if any(name not in editor.parameters for name in names) or _at(op, 4):
        return "its weight is computed, or its columns are in another order"
    if bits not in (4, 8) or editor.values[op.inputs[2]].dtype is not DType.FLOAT32:
        return "its weight has neither 4 nor 8 bits, or its scales are no float32"
    depth, columns = op.int_attribute("K"), op.int_attribute("N")
    blocks = -(-depth // block)
    dtype = DType.UINT4 if bits == 4 else DType.UINT8
    packed = editor.array(op.inputs[1]).reshape(columns, blocks, -1)
    integers = _nibbles(packed, bits).reshape(columns, blocks * block)[:, :depth].T
    scale = editor.array(op.inputs[2]).reshape(columns, blocks).T
    zero: Array = np.full((blocks, columns), 1 << (bits - 1), np.uint8)
    if _at(op, 3):
        held = editor.array(op.inputs[3])
        if held.dtype != np.uint8:
            return "its zero points are real"
        zero = _nibbles(held.reshape(columns, -1), bits)[:, :blocks].T
    hint = op.inputs[1]
    return Operand(
        editor.add_parameter(hint, np.ascontiguousarray(integers), dtype),
        editor.add_parameter(f"{hint}.scale", np.ascontiguousarray(scale)),
        editor.add_parameter(f"{hint}.zero_point", np.ascontiguousarray(zero), dtype),
        0, block,
    )  # fmt: skip


def _nibbles(packed: Array, bits: int) -> Array:
    """Return packed integers one by one along the last axis, the lower half of a byte first."""
    if bits == 8:
        return packed
    held = packed.astype(np.uint8)
    halves = np.stack([held & 15, held >> 4], axis=-1)
    return halves.reshape(*packed.shape[:-1], -1)


def _standard(kind: str) -> Callable[[GraphEditor, Operation], Form | str]:
    def read(editor: GraphEditor, op: Operation) -> Form | str:
        del editor
        operands = tuple(Operand(name) for name in op.inputs)
        return Form(kind, operands, attributes=dict(op.attributes))

    return read


FORMS: dict[str, Callable[[GraphEditor, Operation], Form | str]] = {
    "QLinearConv": _conv,
    "QLinearMatMul": _matmul,
    f"{_DOMAIN}DequantizeLinear": _standard(DEQUANTIZE),
    f"{_DOMAIN}MatMulNBits": _matmul_bits,
    f"{_DOMAIN}QGemm": _gemm,
    f"{_DOMAIN}QLinearAdd": _binary("Add"),
    f"{_DOMAIN}QLinearAveragePool": _unary("AveragePool"),
    f"{_DOMAIN}QLinearConcat": _concat,
    f"{_DOMAIN}QLinearConv": _conv,
    f"{_DOMAIN}QLinearGlobalAveragePool": _unary("GlobalAveragePool"),
    f"{_DOMAIN}QLinearLeakyRelu": _unary("LeakyRelu"),
    f"{_DOMAIN}QLinearMul": _binary("Mul"),
    f"{_DOMAIN}QLinearSigmoid": _unary("Sigmoid"),
    f"{_DOMAIN}QLinearSoftmax": _softmax,
    f"{_DOMAIN}QLinearWhere": _where,
    f"{_DOMAIN}QuantizeLinear": _standard(QUANTIZE),
}
"""By kind, what returns the form of an operation, or why it has none."""
