"""Depthwise convolutions for cores with Helium."""

from __future__ import annotations

import math

import numpy as np

from quantable.backends.c.accumulators import multipliers
from quantable.backends.c.armv81m_packing import LANES, fits_pairs, packed_depthwise
from quantable.backends.c.armv81m_products import is_suited
from quantable.backends.c.unit import Step
from quantable.backends.c.windows import fold_zero_point, kernel_weight, window
from quantable.ir import DType

_FOUR = 4
"""Channels come in fours: lanes of 32 bits begin and end where four bytes do."""

_PARTS = (4, 8)
"""Numbers of channels that fill a vector by repetition."""


def emit(step: Step) -> bool:
    """int.Conv with one channel a group on signed bytes, channels last."""
    op, y = step.operation, step.output()
    if op.string_attribute("layout", "NCHW") != "NHWC" or not is_suited(step):
        return False
    geometry = window(step)
    channels = geometry.in_c
    is_depthwise = op.int_attribute("group") == channels == geometry.out_c > 1
    if not is_depthwise or channels % _FOUR or y.dtype is not DType.INT8:
        return False
    weight = kernel_weight(step).reshape(channels, -1)
    if not fits_pairs(weight):
        return False
    step.macs = math.prod(step.shape(y)) * weight.shape[1]
    zero = op.int_attribute("x_zero_point")
    bias = fold_zero_point(step.array(2).astype(np.int64), zero, weight)
    strides = op.ints_attribute("strides")
    repeats = LANES // channels if channels in _PARTS and strides[-1] == 1 else 1
    parameters = step.parameters(
        "q_mve_depthwise_params",
        [
            geometry.height, geometry.width, str(geometry.batch), str(channels),
            str(int(repeats > 1)), step.requantization(),
        ],
    )  # fmt: skip
    step.lines.append(f"uintptr_t taps[{2 * weight.shape[1]}];")
    constants = (weight, bias, multipliers(step, channels))
    blocks = packed_depthwise(*(np.concatenate([each] * repeats) for each in constants))
    step.call(
        step.shared("q_mve_depthwise", "q_mve_depthwise.h"),
        parameters,
        step.rows(geometry.rows),
        step.pointer(step.input(0).name),
        step.constant("blocks", blocks, DType.UINT32),
        step.constant("border", np.full(channels, zero), DType.INT8),
        "taps",
        step.written(y.name),
    )
    return True
