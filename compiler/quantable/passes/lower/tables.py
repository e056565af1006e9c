"""Lower functions of one value to tables, computed by the runtime on the dequantized grid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quantable.ir import DType, QuantableOperation, UnsupportedError
from quantable.passes.lower.grids import Grid, Reals
from quantable.passes.lower.lowering import Lowering, Target

KNOT_STEP, KNOT_COUNT = 128, 513
"""Knots of an interpolated table: one every 128 steps of a 16-bit input, both ends included."""

UNARY_KINDS = (
    "Abs", "Ceil", "Celu", "Cos", "Div", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid",
    "HardSwish", "LeakyRelu", "Log", "Max", "Min", "Mish", "Neg", "PRelu", "Pow", "Reciprocal",
    "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Swish", "Tan",
    "Tanh", "ThresholdedRelu",
)  # fmt: skip
"""Functions of one activation; operands besides it must be constants of one element."""


def lower_unary(operation: QuantableOperation, lowering: Lowering) -> None:
    """Lower a function of one value to a table, interpolated where the value has 16 bits."""
    slot = _activation_slot(operation, lowering)
    source, target = lowering.read(operation, slot), lowering.target(operation)
    x = source.grid.dtype
    if x.bits == 8:
        integers = np.arange(x.minimum, x.maximum + 1)
        kind, dtype = "int.Table", target.grid.dtype
    else:
        integers = np.arange(KNOT_COUNT) * KNOT_STEP + x.minimum
        kind, dtype = "int.InterpolatedTable", DType.INT32
    real = _evaluate(operation, lowering, slot, source.grid.dequantize(integers))
    table = _quantized(real, target)
    name = lowering.add_parameter(f"{operation.name}.table", table, dtype)
    lowering.emit(operation, kind, [source.name, name], target)


def _activation_slot(operation: QuantableOperation, lowering: Lowering) -> int:
    slots = [
        slot
        for slot, name in enumerate(operation.inputs)
        if name and not lowering.graph.is_parameter(name)
    ]
    if len(slots) != 1:
        raise UnsupportedError(
            f"expected one input that is not constant, found {len(slots)}",
            where=operation.where(),
            help="a function of two tensors has no integer form, except Add, Sub, Mul and MatMul",
        )
    return slots[0]


def _evaluate(
    operation: QuantableOperation, lowering: Lowering, slot: int, real: Reals
) -> npt.NDArray[np.float32]:
    inputs: list[npt.NDArray[np.generic] | None] = []
    for index, name in enumerate(operation.inputs):
        constant = None if index == slot else lowering.reals(operation, index)
        if constant is not None and constant.size != 1:
            raise UnsupportedError(
                f"expected a constant of one element in slot {index}, found '{name}' with "
                f"{constant.size}",
                where=operation.where(),
            )
        inputs.append(real if index == slot else None if constant is None else constant.reshape(()))
    (result,) = lowering.executor.run_operation(operation.plain(), inputs)
    evaluated: npt.NDArray[np.float32] = result.astype(np.float32)
    return evaluated


def _quantized(real: npt.NDArray[np.float32], target: Target) -> npt.NDArray[np.int64]:
    """Quantize and clamp; undefined results (NaN) become 0."""
    grid: Grid = target.grid
    finite = np.nan_to_num(real, nan=0.0)
    # The quotient of a huge value may overflow: bound it by values that quantize to the ends.
    span = np.float32(1 << 20) * grid.scale32
    integers = grid.quantize(np.clip(finite, -span, span))
    return np.clip(integers, target.clamp_min, target.clamp_max)
