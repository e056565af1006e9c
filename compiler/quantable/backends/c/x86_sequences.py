"""Softmax, layer normalization and functions of bytes for the kernels of x86-64."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from quantable.backends.c.bytes_only import is_bytes
from quantable.backends.c.text import integer
from quantable.backends.c.unit import Step
from quantable.ir import DType

_ROW = 2**16
"""Elements that a row of a layer normalization has at most: sums of squares stay in int32."""
_EXACT = 2.0**51
"""Integers below are brought into double by adding bits."""
_QUOTIENT = 2**20
"""Elements of a softmax, and twice what 1 is, are fewer: its quotients are exact in double."""


def emit_softmax(step: Step) -> bool:
    """int.Softmax of unsigned bytes."""
    shape = step.shape(step.input(0))
    bits = step.operation.int_attribute("fraction_bits")
    if not is_bytes(step, 1) or (2 << bits) + shape[-1] >= _QUOTIENT:
        return False
    x, y = step.pointer(step.input(0).name), step.pointer(step.output().name)
    sizes = [str(math.prod(shape[:-1])), str(shape[-1])]
    parameters = step.parameters("q_softmax", [*sizes, *step.fact("fraction_bits", "y_zero_point")])
    tables = [
        step.constant(role, step.array(slot), DType.UINT32)
        for slot, role in ((1, "high"), (2, "low"))
    ]
    function = step.shared("q_softmax_bytes", "q_softmax_bytes.h")
    step.shared_call(function, parameters, x, *tables, y)
    return True


def emit_layer_normalization(step: Step) -> bool:
    """int.LayerNormalization of unsigned bytes."""
    shape = step.shape(step.input(0))
    if not is_bytes(step, 1) or not 0 < shape[-1] <= _ROW:
        return False
    gamma, beta = step.array(1).astype(np.float64), step.array(2).astype(np.float64)
    # No element is further from the mean than the root of the number of them in deviations.
    largest = 16384.0 * math.sqrt(shape[-1]) + 1.0
    if float((np.abs(gamma) * largest + np.abs(beta)).max()) >= _EXACT:
        return False
    sizes = [str(math.prod(shape[:-1])), str(shape[-1])]
    epsilon = integer(step.operation.int_attribute("epsilon"))
    parameters = step.parameters(
        "q_layer_norm", [*sizes, epsilon, step.multiplier(), step.requantization()]
    )
    function = step.shared("q_layer_norm_bytes", "q_layer_norm_bytes.h")
    constants = [
        step.constant("gamma", step.array(1), DType.INT32),
        step.constant("beta", step.array(2), DType.INT64),
    ]
    x, y = step.pointer(step.input(0).name), step.pointer(step.output().name)
    step.shared_call(function, parameters, x, *constants, y)
    return True


def emit_table(step: Step) -> bool:
    """int.Table of bytes, signed or not."""
    table = step.array(1).reshape(-1)
    if {step.input(0).dtype, step.output().dtype} - {DType.UINT8, DType.INT8}:
        return False
    half = 128 if step.input(0).dtype is DType.INT8 else 0
    _emit_function(step, step.input(0).name, np.roll(table, -half).view(np.uint8))
    return True


def emit_mul(step: Step) -> bool:
    """int.Mul of an unsigned byte by a constant of one element: a function of the byte."""
    op = step.operation
    slots = [slot for slot in (0, 1) if step.unit.graph.is_parameter(op.inputs[slot])]
    if len(slots) != 1 or step.array(slots[0]).size != 1:
        return False
    constant, x = slots[0], step.input(1 - slots[0])
    if x.dtype is not DType.UINT8 or step.output().dtype is not DType.UINT8:
        return False
    if step.shape(x) != step.shape(step.output()):
        return False
    factor = int(step.array(constant).reshape(-1)[0]) - op.int_attribute(
        f"{'ab'[constant]}_zero_point"
    )
    zero = op.int_attribute(f"{'ab'[1 - constant]}_zero_point")
    _emit_function(step, x.name, _requantized(step, (np.arange(256) - zero) * factor))
    return True


def _requantized(step: Step, acc: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Return the bytes of accumulators by the contract, see docs/integer-operations.md."""
    op = step.operation
    zero, low, high = (
        op.int_attribute(name) for name in ("y_zero_point", "clamp_min", "clamp_max")
    )
    with np.errstate(over="ignore"):  # infinity is clipped, as everything beyond the bounds
        product = acc.astype(np.float32) * np.float32(op.float_attribute("multiplier"))
    steps = np.rint(np.clip(product, np.float32(low - zero), np.float32(high - zero)))
    found: npt.NDArray[np.uint8] = (steps.astype(np.int64) + zero).astype(np.uint8)
    return found


def _emit_function(step: Step, x: str, table: npt.NDArray[np.generic]) -> None:
    """Emit a function of every byte: what byte i becomes is entry i of the table."""
    function = step.shared("q_table_bytes", "q_table_bytes.h")
    count = str(math.prod(step.shape(step.output())))
    operands = [
        f"(const uint8_t *){step.pointer(x)}",
        step.constant("function", table, DType.UINT8, 64),
        f"(uint8_t *){step.pointer(step.output().name)}",
    ]
    step.shared_call(function, count, *operands)
