"""Convolutions and linear layers for cores with Helium."""

from __future__ import annotations

import numpy as np

from quantable.backends.c.accumulators import multipliers
from quantable.backends.c.armv81m_packing import LANES, filled, packed_blocks
from quantable.backends.c.cortex_m_products import (
    STACK,
    Product,
    conv_product,
    linear_product,
)
from quantable.backends.c.text import C_TYPES
from quantable.backends.c.unit import Step
from quantable.backends.c.windows import (
    fold_zero_point,
    is_rounded_without_clamp,
)
from quantable.ir import DType

_TILE = (3, 2)
"""Pixels and channels that are computed together (q_mve_tile.h)."""
_COLUMN = (1, 6)


def emit_conv(step: Step) -> bool:
    """int.Conv of one group on signed bytes, channels last."""
    op = step.operation
    is_one = op.int_attribute("group") == 1
    if op.string_attribute("layout", "NCHW") != "NHWC" or not is_one or not is_suited(step):
        return False
    return _emit(step, conv_product(step))


def emit_linear(step: Step) -> bool:
    """int.Linear on signed bytes."""
    return is_suited(step) and _emit(step, linear_product(step))


def is_suited(step: Step) -> bool:
    """Whether elements have the types of the kernels, and results need no clamp to be rounded."""
    return (
        step.input(0).dtype is DType.INT8
        and step.output().dtype in (DType.INT8, DType.INT16)
        and is_rounded_without_clamp(step)
    )


def _emit(step: Step, product: Product) -> bool:
    y = step.output()
    weight = product.weight.reshape(len(product.weight), -1)
    channels, inner = weight.shape
    pixels, block = _TILE if product.pixels >= _TILE[0] else _COLUMN
    # A few pixels are read where they lie only where all of the input is there.
    is_point = product.is_dense and not (block == _COLUMN[1] and step.is_streamed)
    room = (pixels * -(-inner // LANES) + 1) * LANES
    if is_point and block == _COLUMN[1]:
        room = 0
    if room > STACK:
        return False
    step.macs = product.pixels * weight.size
    zero = step.operation.int_attribute("x_zero_point")
    bias = fold_zero_point(step.array(2).astype(np.int64), zero, weight)
    facts = [product.batch, product.depth, channels, zero, product.pieces, product.taps, inner]
    facts.append(int(is_point))
    stem = "q_mve_points" if is_point else "q_mve_conv"
    function = step.instance(
        stem if (pixels, block) == _TILE else "q_mve_pixels",
        "q_mve_conv.h",
        {"Y": C_TYPES[y.dtype]},
        y.dtype.value,
    )
    parameters = step.parameters(
        "q_mve_conv_params",
        [product.height, product.width, *map(str, facts), step.requantization()],
    )
    if room:
        step.lines.append(f"int8_t window[{room}];")
    blocks = packed_blocks(weight, bias, block)
    operands = [
        step.rows(product.rows),
        step.pointer(step.input(0).name),
        step.constant("blocks", blocks, DType.UINT32),
        step.constant("multiplier", filled(multipliers(step, channels), 4), DType.FLOAT32),
    ]
    operands.append("window" if room else "NULL")
    step.call(function, parameters, *operands, step.written(y.name))
    return True
