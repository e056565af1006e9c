"""Lower Add, Sub, Mul, and Relu and Clip that stand alone."""

from __future__ import annotations

import numpy as np

from quantable.ir import QuantableOperation
from quantable.passes.lower.lowering import Lowering, clamp_bounds

ADD_SHIFT_8_BIT, ADD_SHIFT = 14, 20


def lower_add(operation: QuantableOperation, lowering: Lowering) -> None:
    """Lower an addition."""
    _weighted_sum(operation, lowering, sign=1)


def lower_sub(operation: QuantableOperation, lowering: Lowering) -> None:
    """Lower a subtraction: an addition with a negative multiplier."""
    _weighted_sum(operation, lowering, sign=-1)


def _weighted_sum(operation: QuantableOperation, lowering: Lowering, sign: int) -> None:
    a, b = lowering.read(operation, 0), lowering.read(operation, 1)
    target = lowering.target(operation)
    is_small = all(grid.dtype.bits == 8 for grid in (a.grid, b.grid, target.grid))
    shift = ADD_SHIFT_8_BIT if is_small else ADD_SHIFT
    scale = max(a.grid.scale, b.grid.scale) * 2.0**-shift
    attributes = {
        "a_zero_point": a.grid.zero_point,
        "b_zero_point": b.grid.zero_point,
        "a_multiplier": round(a.grid.scale / scale),
        "b_multiplier": sign * round(b.grid.scale / scale),
        "multiplier": float(np.float32(scale) / target.grid.scale32),
        **target.attributes,
    }
    lowering.emit(operation, "int.Add", [a.name, b.name], target, attributes)


def lower_mul(operation: QuantableOperation, lowering: Lowering) -> None:
    """Lower a multiplication."""
    a, b = lowering.read(operation, 0), lowering.read(operation, 1)
    target = lowering.target(operation)
    attributes = {
        "a_zero_point": a.grid.zero_point,
        "b_zero_point": b.grid.zero_point,
        "multiplier": float(a.grid.scale32 * b.grid.scale32 / target.grid.scale32),
        **target.attributes,
    }
    lowering.emit(operation, "int.Mul", [a.name, b.name], target, attributes)


def lower_clamping(operation: QuantableOperation, lowering: Lowering) -> None:
    """Lower a Relu or Clip that no producer absorbed: a change of scale with a narrower clamp."""
    source, target = lowering.read(operation, 0), lowering.target(operation)
    low, high = clamp_bounds(lowering, operation, target.grid)
    attributes = {
        "x_zero_point": source.grid.zero_point,
        "multiplier": float(source.grid.scale32 / target.grid.scale32),
        **target.attributes,
        "clamp_min": min(max(low, target.clamp_min), target.clamp_max),
        "clamp_max": max(min(high, target.clamp_max), target.clamp_min),
    }
    lowering.emit(operation, "int.Requantize", [source.name], target, attributes)
