"""CenteredDifference(x)[..., i] = x[..., i + 2] - x[..., i], in integers two slices and a sum."""

from __future__ import annotations

from typing import Any

import numpy as np

from quantable.ir import DType
from quantable.ir.user_operations import (
    Decomposition,
    QuantizationRule,
    ShapeCall,
    TensorType,
    UserOperation,
)


def shape(call: ShapeCall) -> TensorType:
    """Two elements fewer along the last axis."""
    x = call.inputs[0]
    assert x is not None
    last = x.shape[-1]
    return TensorType(x.dtype, (*x.shape[:-1], last - 2 if isinstance(last, int) else None))


def lower(operation: Any, lowering: Any) -> None:
    """Write the slices, which stay on the grid of the input, and the weighted sum of them."""
    x, target = lowering.read(operation, 0), lowering.target(operation)
    count = x.shape[-1] - 2
    parts = []
    for name, start in (("later", 2), ("earlier", 0)):
        bounds = {"starts": start, "ends": start + count, "axes": len(x.shape) - 1, "steps": 1}
        constants = [
            lowering.add_parameter(f"{operation.name}.{key}", np.array([number]), DType.INT64)
            for key, number in bounds.items()
        ]
        part = lowering.add_value(f"{operation.name}.{name}", x.grid.dtype, (*x.shape[:-1], count))
        lowering.add_operation(
            f"{operation.name}.{name}", "Slice", [x.name, *constants], [part], {}
        )
        parts.append(part)
    factor = 1 << 14
    multiplier = lowering.multiplier(
        lambda real: real(x.grid.scale) * real(2.0**-14) / real(target.grid.scale)
    )
    attributes = {
        "a_zero_point": x.grid.zero_point, "b_zero_point": x.grid.zero_point,
        "a_multiplier": factor, "b_multiplier": -factor, "multiplier": multiplier,
        **target.attributes,
    }  # fmt: skip
    lowering.emit(operation, "int.Add", parts, target, attributes)


CENTERED_DIFFERENCE = UserOperation(
    domain="com.example.waveform", name="CenteredDifference", inputs=("x",), outputs=("y",),
    shape=shape, semantics="waveform_operations.semantics:centered_difference",
    rule=QuantizationRule(inputs=("activation",)), integer=Decomposition(lower),
    summary="the difference of the neighbours of each element",
)  # fmt: skip
