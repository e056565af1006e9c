"""What a QuantizeLinear or a DequantizeLinear does, in one form, or why it has none.

Passes that move quantizers, drop them or make configs of them read them here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from quantable.ir import ONNX_NUMBERS, ContentRef, DType, Graph, Operation, Value, floats
from quantable.ir.standard_operations import Role, standard_operations
from quantable.passes.base import Array

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
QUANTIZERS = (QUANTIZE, DEQUANTIZE)
_SMALLEST, _LARGEST = 2.0**-100, 2.0**100
"""Scales between these bounds: a number on the grid is quantized to itself."""
_INTEGERS = (DType.INT4, DType.UINT4, DType.INT8, DType.UINT8, DType.INT16, DType.UINT16)
_PARAMETERS = (*_INTEGERS, DType.INT32)
_SMALL_FLOATS = (DType.FLOAT8E4M3FN, DType.FLOAT8E5M2, DType.FLOAT4E2M1)


class Constants(Protocol):
    """A graph, or an editor of one."""

    @property
    def values(self) -> Mapping[str, Value]:
        """Every value by name."""

    @property
    def parameters(self) -> Mapping[str, ContentRef]:
        """Contents of the constant ones."""

    def array(self, parameter: str) -> Array:
        """Return the contents of one."""


@dataclass(frozen=True, eq=False)
class Quantizer:
    """How real numbers and stored ones belong together.

    Attributes:
        scale: float32, of the shape that the model gives it.
        zero_point: int64, of the shape of `scale`.
        dtype: What is stored.
        axis: Of the channels, or along which the blocks lie, not negative; None per tensor.
        block_size: 0 unless per block.
    """

    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[np.int64]
    dtype: DType
    axis: int | None
    block_size: int

    @property
    def key(self) -> tuple[object, ...]:
        """What two quantizers have in common that do the same."""
        numbers = self.scale.tobytes(), self.zero_point.tobytes()
        shape = self.scale.shape if self.block_size else self.scale.size
        return *numbers, shape, self.dtype, self.axis, self.block_size

    @property
    def is_idempotent(self) -> bool:
        """Whether it quantizes what is on its grid to itself, infinite and tiny scales left out."""
        return bool(((self.scale >= _SMALLEST) & (self.scale <= _LARGEST)).all())


def quantizer_of(graph: Constants, op: Operation) -> Quantizer | str:
    """Return what a QuantizeLinear or a DequantizeLinear does.

    Returns:
        The quantizer, or why a config cannot say the same.
    """
    is_quantize = op.kind == QUANTIZE
    data, made = graph.values[op.inputs[0]], graph.values[op.outputs[0]]
    real, stored = (data, made) if is_quantize else (made, data)
    is_parameter = not is_quantize and data.name in graph.parameters
    allowed = (*_PARAMETERS, *_SMALL_FLOATS) if is_parameter else _INTEGERS
    if real.dtype is not DType.FLOAT32:
        return f"its real numbers are {real.dtype.value}, expected f32"
    if stored.dtype not in allowed:
        return f"no slot is stored as {stored.dtype.value}"
    if ONNX_NUMBERS.get(op.int_attribute("precision"), DType.FLOAT32) is not DType.FLOAT32:
        return "it divides in another precision than float32"
    if any(name not in graph.parameters for name in op.inputs[1:] if name):
        return "its scale or zero point is computed"
    scale = graph.array(op.inputs[1])
    if graph.values[op.inputs[1]].dtype is not DType.FLOAT32:
        return f"its scale is {graph.values[op.inputs[1]].dtype.value}, expected f32"
    zero = graph.array(op.inputs[2]) if len(op.inputs) > 2 and op.inputs[2] else np.zeros(1)
    return _placed(op, real, stored.dtype, scale.astype(np.float32), zero)


def _placed(
    op: Operation, real: Value, dtype: DType, scale: npt.NDArray[np.float32], zero: Array
) -> Quantizer | str:
    if not (np.isfinite(scale).all() and (scale > 0).all() and scale.size):
        return "a scale is not a positive finite number"
    fault = _small_float_fault(dtype, scale, zero)
    if fault:
        return fault
    zeros = zero.astype(np.int64)
    zeros = np.full(scale.shape, zeros.reshape(-1)[0]) if zeros.size == 1 else zeros
    block = op.int_attribute("block_size")
    if scale.size == 1 and not block:
        return Quantizer(scale.reshape(1), zeros.reshape(1), dtype, None, 0)
    if real.shape is None:
        return "the rank of its tensor is not known"
    axis = op.int_attribute("axis", 1) % max(len(real.shape), 1)
    if not block:
        return Quantizer(scale.reshape(-1), zeros.reshape(-1), dtype, axis, 0)
    if op.kind == QUANTIZE:
        return "blocks are for parameters"
    if block < 2:
        return f"blocks of {block}"
    return Quantizer(scale, zeros, dtype, axis, block)


def _small_float_fault(dtype: DType, scale: npt.NDArray[np.float32], zero: Array) -> str:
    if not dtype.is_small_float:
        return ""
    if zero.any():
        return "small floats with a zero point"
    return "" if (np.frexp(scale)[0] == 0.5).all() else "a scale of small floats is no power of two"


def moves_elements(graph: Constants, op: Operation) -> bool:
    """Whether every element that an operation makes is one of its first input, or zero."""
    row = standard_operations().get(op.kind)
    if row is None or row.role is not Role.PASSIVE or op.regions or not op.inputs:
        return False
    if op.kind == "Dropout" and len(op.inputs) > 1:  # it may scale
        return False
    if op.kind == "Resize" and not _is_nearest(op):  # it has the row of its input, and interpolates
        return False
    fills = [name for slot, name in enumerate(op.inputs) if row.slot(slot) == "p" and name]
    return all(name in graph.parameters and _is_zero(graph.array(name)) for name in fills)


def _is_nearest(op: Operation) -> bool:
    """Whether a Resize takes one element for each, and none from outside."""
    place = op.string_attribute("coordinate_transformation_mode", "half_pixel")
    return op.string_attribute("mode", "nearest") == "nearest" and place != "tf_crop_and_resize"


def _is_zero(number: Array) -> bool:
    return not number.any() and not np.signbit(number.astype(np.float64)).any()


def quantizes_activations(graph: Graph) -> bool:
    """Whether a model quantizes tensors that are no constants, by numbers that are."""
    return any(
        op.kind == QUANTIZE
        and op.inputs[0] not in graph.parameters
        and isinstance(quantizer_of(graph, op), Quantizer)
        for op in graph.operations
    )


def dequantized(stored: Array, quantizer: Quantizer) -> npt.NDArray[np.float32]:
    """Return the real numbers of constant integers, as DequantizeLinear computes them: float32."""
    scale, zero = _along(quantizer, stored.shape)
    if quantizer.dtype.is_small_float:
        steps = floats.decode(stored, quantizer.dtype)
    else:
        steps = (stored.astype(np.int64) - zero).astype(np.float32)
    return np.asarray(steps * scale, np.float32)


def quantized(real: Array, quantizer: Quantizer) -> npt.NDArray[np.int64]:
    """Return the integers of constant real numbers, as QuantizeLinear computes them."""
    scale, zero = _along(quantizer, real.shape)
    with np.errstate(over="ignore"):
        steps = np.rint(real.astype(np.float32) / scale).astype(np.float64) + zero
    clipped = np.clip(steps, quantizer.dtype.minimum, quantizer.dtype.maximum)
    return np.asarray(clipped, np.int64)


def _along(
    quantizer: Quantizer, dims: tuple[int, ...]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return scale and zero point so that they broadcast along a tensor of these dimensions."""
    scale, zero = quantizer.scale, quantizer.zero_point
    if quantizer.axis is None:
        return scale.reshape(()), zero.reshape(())
    if quantizer.block_size:
        places = np.arange(dims[quantizer.axis]) // quantizer.block_size
        return scale.take(places, quantizer.axis), zero.take(places, quantizer.axis)
    shape = [-1 if axis == quantizer.axis else 1 for axis in range(len(dims))]
    return scale.reshape(shape), zero.reshape(shape)
