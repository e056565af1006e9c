"""Lower Add, Sub, Mul, and Relu and Clip that stand alone."""

from __future__ import annotations

import numpy as np

from quantable.ir import QuantableOperation, UnsupportedError
from quantable.passes.lower.bounds import check_sum
from quantable.passes.lower.lowering import Lowering, clamp_bounds
from quantable.passes.lower.requantization import Ratio


def lower_add(operation: QuantableOperation, lowering: Lowering) -> None:
    """Lower an addition."""
    _weighted_sum(operation, lowering, sign=1)


def lower_sub(operation: QuantableOperation, lowering: Lowering) -> None:
    """Lower a subtraction: an addition with a negative multiplier."""
    _weighted_sum(operation, lowering, sign=-1)


def _weighted_sum(operation: QuantableOperation, lowering: Lowering, sign: int) -> None:
    a, b = lowering.read(operation, 0), lowering.read(operation, 1)
    target = lowering.target(operation)
    to = target.grid.scale
    are_bytes = a.grid.dtype.bits == b.grid.dtype.bits == 8
    width = 0 if are_bytes and target.grid.dtype.bits == 8 else 1 if are_bytes else 2
    shift = lowering.requantization.add_shifts[width]
    scale = max(a.grid.scale, b.grid.scale) * 2.0**-shift
    attributes = {
        "a_zero_point": a.grid.zero_point,
        "b_zero_point": b.grid.zero_point,
        "a_multiplier": round(a.grid.scale / scale),
        "b_multiplier": sign * round(b.grid.scale / scale),
        "multiplier": _checked(operation, lowering, lambda real: real(scale) / real(to)),
        **target.attributes,
    }
    lowering.emit(operation, "int.Add", [a.name, b.name], target, attributes)


def _checked(operation: QuantableOperation, lowering: Lowering, ratio: Ratio) -> float:
    multiplier = lowering.multiplier(ratio)
    lowering.requantization.require_power(operation, np.asarray(multiplier))
    return multiplier


def lower_mul(operation: QuantableOperation, lowering: Lowering) -> None:
    """Lower a multiplication."""
    a, b = lowering.read(operation, 0), lowering.read(operation, 1)
    target = lowering.target(operation)
    if lowering.requantization.is_fixed_point:
        check_sum(operation, a.grid.largest_steps * b.grid.largest_steps, 1)
    attributes = {
        "a_zero_point": a.grid.zero_point,
        "b_zero_point": b.grid.zero_point,
        "multiplier": _checked(
            operation,
            lowering,
            lambda real: real(a.grid.scale) * real(b.grid.scale) / real(target.grid.scale),
        ),
        **target.attributes,
    }
    lowering.emit(operation, "int.Mul", [a.name, b.name], target, attributes)


def lower_cast(operation: QuantableOperation, lowering: Lowering) -> None:
    """Lower a cast of integers that are an input: the caller quantizes them, as real numbers."""
    source, target = operation.inputs[0], lowering.target(operation)
    if source not in lowering.graph.inputs:
        raise UnsupportedError(
            f"expected an input of the network, found '{source}', which is computed",
            where=operation.where(),
        )
    attributes = {
        "scale": target.grid.scale, "zero_point": target.grid.zero_point,
        "clamp_min": target.clamp_min, "clamp_max": target.clamp_max,
    }  # fmt: skip
    lowering.emit(operation, "int.Quantize", [source], target, attributes)


def lower_clamping(operation: QuantableOperation, lowering: Lowering) -> None:
    """Lower a Relu or Clip that no producer absorbed: a change of scale with a narrower clamp."""
    source, target = lowering.read(operation, 0), lowering.target(operation)
    low, high = clamp_bounds(lowering, operation, target.grid)
    attributes = {
        "x_zero_point": source.grid.zero_point,
        "multiplier": _checked(
            operation, lowering, lambda real: real(source.grid.scale) / real(target.grid.scale)
        ),
        **target.attributes,
        "clamp_min": min(max(low, target.clamp_min), target.clamp_max),
        "clamp_max": max(min(high, target.clamp_max), target.clamp_min),
    }
    lowering.emit(operation, "int.Requantize", [source.name], target, attributes)
