"""Lower Conv, Linear and MatMul."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantable.ir import DType, QuantableOperation, UnsupportedError
from quantable.passes.lower.bounds import check_sum, check_weighted_sum, quantized_bias
from quantable.passes.lower.grids import Grid
from quantable.passes.lower.lowering import Lowering, Target
from quantable.passes.lower.windows import static_dims, window_attributes


@dataclass(frozen=True)
class Weights:
    """Constant operands of a weighted sum.

    Attributes:
        integers: The weight, as the operation lays it out.
        bias: int64 [outputs], in steps of the accumulator.
        multiplier: [outputs], as the target's requantization wants them.
        dtype: Storage of the weight.
    """

    integers: npt.NDArray[np.int64]
    bias: npt.NDArray[np.int64]
    multiplier: npt.NDArray[np.floating]
    dtype: DType


Integers = npt.NDArray[np.int64]


def read_weights(
    operation: QuantableOperation,
    lowering: Lowering,
    source: Grid,
    target: Target,
    axis: int,
    arrange: Callable[[Integers], Integers] | None = None,
) -> Weights:
    """Return the constant operands of a weighted sum, with a proof that no sum leaves int32.

    Args:
        operation: With a weight in slot 1 and perhaps a bias in slot 2.
        lowering: Where it is lowered.
        source: The grid of the input.
        target: What the operation makes.
        axis: Of the output channels, along which the weight may have scales.
        arrange: Brings the output channels to the first axis, where they are not along one.
    """
    config = operation.config.inputs[1]
    row = lowering.graph.rows.get(config.row)
    if not lowering.graph.is_parameter(operation.inputs[1]) or row is None:
        raise UnsupportedError(
            f"expected a quantized constant weight, found '{operation.inputs[1]}' "
            f"in state {config.state.value}",
            where=f"{operation.where()} in1",
        )
    integers = lowering.integers(operation, 1)
    at = axis if arrange is None else 0
    if arrange is not None:
        integers = arrange(integers)
    if row.zero_point_array.any():
        raise UnsupportedError(
            "expected a symmetric weight, found a zero point that is not 0",
            where=f"{operation.where()} in1",
            help="choose a target with symmetric weights",
        )
    if config.channel_axis not in (None, axis):
        raise UnsupportedError(
            f"expected weight scales along axis {axis}, found axis {config.channel_axis}",
            where=f"{operation.where()} in1",
        )
    count = integers.shape[at]
    accumulator = np.broadcast_to(source.scale32 * row.scale_array, count).astype(np.float32)
    bias = _bias(operation, lowering, accumulator)
    terms = np.moveaxis(integers, at, 0).reshape(count, -1)
    check_weighted_sum(operation, terms, bias, source)
    multiplier = lowering.requantization.multipliers(
        lambda real: real(accumulator) / real(target.grid.scale)
    )
    lowering.requantization.require_power(operation, multiplier)
    return Weights(integers, bias, multiplier, config.storage)


def _bias(
    operation: QuantableOperation, lowering: Lowering, accumulator: npt.NDArray[np.float32]
) -> npt.NDArray[np.int64]:
    """Return the baked bias, or one in the accumulator's steps where its row is another."""
    if len(operation.inputs) < 3 or not operation.inputs[2]:
        return np.zeros(accumulator.shape, np.int64)
    config = operation.config.inputs[2]
    row = lowering.graph.rows.get(config.row)
    if row is not None and (config.state.is_baked or config.state.is_in_force):
        scales = np.broadcast_to(row.scale_array, accumulator.shape)
        if np.array_equal(scales, accumulator):
            return lowering.integers(operation, 2)
    real = lowering.reals(operation, 2)
    assert real is not None
    return quantized_bias(operation, real, accumulator)


def operands(operation: QuantableOperation, lowering: Lowering, held: Weights) -> list[str]:
    """Add weight, bias and multiplier as parameters."""
    bias_name = operation.inputs[2] if len(operation.inputs) > 2 else ""
    return [
        lowering.add_parameter(operation.inputs[1], held.integers, held.dtype),
        lowering.add_parameter(bias_name or f"{operation.name}.bias", held.bias, DType.INT32),
        lowering.add_parameter(
            f"{operation.name}.multiplier", held.multiplier, lowering.requantization.dtype
        ),
    ]


def lower_conv(operation: QuantableOperation, lowering: Lowering) -> None:
    """Lower a convolution with constant weights, one or two spatial dimensions."""
    source, target = lowering.read(operation, 0), lowering.target(operation)
    held = read_weights(operation, lowering, source.grid, target, axis=0)
    kernel = held.integers.shape[2:]
    if len(kernel) not in (1, 2):
        raise UnsupportedError(
            f"expected 1 or 2 spatial dimensions, found {len(kernel)}", where=operation.where()
        )
    attributes = {
        "x_zero_point": source.grid.zero_point,
        "group": operation.int_attribute("group", 1),
        **target.attributes,
        **window_attributes(operation, source.shape, kernel),
    }
    inputs = [source.name, *operands(operation, lowering, held)]
    lowering.emit(operation, "int.Conv", inputs, target, attributes)


def lower_linear(operation: QuantableOperation, lowering: Lowering) -> None:
    """Lower a matrix product with a constant weight [K, N]."""
    source, target = lowering.read(operation, 0), lowering.target(operation)
    held = read_weights(operation, lowering, source.grid, target, axis=1)
    attributes = {"x_zero_point": source.grid.zero_point, **target.attributes}
    inputs = [source.name, *operands(operation, lowering, held)]
    lowering.emit(operation, "int.Linear", inputs, target, attributes)


def lower_matmul(operation: QuantableOperation, lowering: Lowering) -> None:
    """Lower a matrix product of two activations."""
    a, b = lowering.read(operation, 0), lowering.read(operation, 1)
    target = lowering.target(operation)
    depth = static_dims(operation, a.shape, (-1,))[0]
    check_sum(operation, a.grid.largest_steps * b.grid.largest_steps, depth)
    multiplier = lowering.multiplier(
        lambda real: real(a.grid.scale) * real(b.grid.scale) / real(target.grid.scale)
    )
    lowering.requantization.require_power(operation, np.asarray(multiplier))
    attributes = {
        "a_zero_point": a.grid.zero_point,
        "b_zero_point": b.grid.zero_point,
        "multiplier": multiplier,
        **target.attributes,
    }
    lowering.emit(operation, "int.MatMul", [a.name, b.name], target, attributes)
