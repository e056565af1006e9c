"""Depthwise convolutions for scalar RISC-V cores."""

from __future__ import annotations

import math

from quantable.backends.c.accumulators import settled
from quantable.backends.c.riscv_products import folded_bias, is_suited, layer_fixed_point
from quantable.backends.c.unit import Step
from quantable.backends.c.windows import Window, kernel_weight, window
from quantable.ir import DType

_PLANE = {1: 1024, 2: 256}
"""Bytes of an image of one channel that is copied before it is read, by stride."""
_LINE = 64
"""Outputs of a line whose sums are held at a time."""


def emit_depthwise(step: Step) -> bool:
    """int.Conv with one input and one output channel a group."""
    op, y = step.operation, step.output()
    if not is_suited(step) or y.dtype is not DType.UINT8:
        return False
    geometry = window(step)
    channels = geometry.in_c
    if not op.int_attribute("group") == channels == geometry.out_c:
        return False
    weight = kernel_weight(step).reshape(channels, -1)
    step.macs = math.prod(step.shape(y)) * weight.shape[1]
    layer = settled(step, weight)
    zero = op.int_attribute("x_zero_point")
    is_sliding = _is_three_by_three(step, geometry)
    plane, pitch = _plane(step) if is_sliding else (0, 0)
    is_sliding = is_sliding and (plane > 0 or _has_thin_border(step))
    facts = [geometry.batch, channels, zero, int(is_sliding), plane, pitch]
    parameters = step.parameters(
        "q_scalar_depthwise_params",
        [geometry.height, geometry.width, *map(str, facts), layer_fixed_point(step, layer)],
    )
    if plane:
        step.lines.append(f"uint8_t plane[{plane}];")
    step.call(
        step.shared("q_scalar_depthwise", "q_scalar_depthwise.h"),
        parameters,
        step.pointer(step.input(0).name),
        step.constant("weight", layer.weight, DType.INT8),
        step.constant("bias", folded_bias(layer, zero), DType.INT32),
        step.constant("multiplier", layer.multiplier, DType.FLOAT32),
        "plane" if plane else "NULL",
        step.pointer(y.name),
    )
    return True


def _is_three_by_three(step: Step, geometry: Window) -> bool:
    """Whether columns of the window are shared as q_scalar_depthwise.h can: see there."""
    op = step.operation
    if geometry.taps != (3, 3) or len(op.ints_attribute("kernel_shape")) != 2:
        return False
    return op.ints_attribute("dilations")[1] == 1 and op.ints_attribute("strides")[1] in (1, 2)


def _plane(step: Step) -> tuple[int, int]:
    """Return the bytes and the pitch of an image of one channel with its padding, 0 if too large.

    Copying it costs about as much as what it saves at the borders of larger ones.
    """
    op = step.operation
    pads, stride = op.ints_attribute("pads"), op.ints_attribute("strides")[1]
    high, wide = step.shape(step.input(0))[1:3]
    high, pitch = high + pads[0] + pads[2], wide + pads[1] + pads[3]
    is_small = high * pitch <= _PLANE[stride] and step.shape(step.output())[2] <= _LINE
    return (high * pitch, pitch) if is_small else (0, 0)


def _has_thin_border(step: Step) -> bool:
    """Whether at most one column of padding is on either side."""
    op = step.operation
    before, stride = op.ints_attribute("pads")[1], op.ints_attribute("strides")[1]
    wide, outputs = step.shape(step.input(0))[2], step.shape(step.output())[2]
    return before <= 1 and (outputs - 1) * stride - before + 2 <= wide
