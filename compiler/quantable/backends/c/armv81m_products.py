"""Convolutions and linear layers for cores with Helium."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantable.backends.c.armv81m_packing import LANES, filled, packed_blocks
from quantable.backends.c.text import C_TYPES
from quantable.backends.c.unit import Step
from quantable.backends.c.windows import (
    fold_zero_point,
    is_rounded_without_clamp,
    kernel_weight,
    window,
)
from quantable.ir import DType
from quantable.ir.streaming import Axis

_TILE = (3, 2)
"""Pixels and channels that are computed together (q_mve_tile.h)."""
_COLUMN = (1, 6)
_STACK = 32768
"""Bytes of the stack that windows may take; larger ones run in portable C."""
_POINT = "{1, 1, 1, 1, 1, 0, 0}"


@dataclass(frozen=True, slots=True)
class _Product:
    """A product of windows with weights, as q_mve_window.h is told it.

    Attributes:
        height, width: Initializers of `q_axis`.
        rows: The axis of height.
        batch, depth: Images, and channels of an input pixel.
        pieces, taps: Runs in a row of the window, and pixels in each.
        pixels: Output pixels in all.
        is_point: Whether windows are pixels, one behind the other.
        weight: [outputs, products].
    """

    height: str
    width: str
    rows: Axis
    batch: int
    depth: int
    pieces: int
    taps: int
    pixels: int
    is_point: bool
    weight: npt.NDArray[np.int64]


def emit_conv(step: Step) -> bool:
    """int.Conv of one group on signed bytes, channels last."""
    op = step.operation
    is_one = op.int_attribute("group") == 1
    if op.string_attribute("layout", "NCHW") != "NHWC" or not is_one or not is_suited(step):
        return False
    geometry = window(step)
    rows, columns = geometry.taps
    pieces = 1 if op.ints_attribute("dilations")[-1] == 1 else columns
    weight = kernel_weight(step).reshape(geometry.out_c, geometry.in_c, -1)
    steps = (*op.ints_attribute("strides"), rows, columns)
    is_point = all(value == 1 for value in steps) and not any(op.ints_attribute("pads"))
    pixels = math.prod(step.shape(step.output())) // geometry.out_c
    return _emit(step, _Product(
        geometry.height, geometry.width, geometry.rows, geometry.batch, geometry.in_c, pieces,
        columns // pieces, pixels, is_point,
        weight.transpose(0, 2, 1).reshape(geometry.out_c, -1),
    ))  # fmt: skip


def emit_linear(step: Step) -> bool:
    """int.Linear on signed bytes: a 1 x 1 convolution over its rows."""
    if not is_suited(step):
        return False
    x, weight = step.shape(step.input(0)), kernel_weight(step)
    rows = math.prod(x[:-1])
    line = f"{{{rows}, {rows}, 1, 1, 1, 0, 0}}"
    return _emit(step, _Product(
        _POINT, line, Axis(1, 1), 1, x[-1], 1, 1, rows, True, weight.T,
    ))  # fmt: skip


def is_suited(step: Step) -> bool:
    """Whether elements have the types of the kernels, and results need no clamp to be rounded."""
    return (
        step.input(0).dtype is DType.INT8
        and step.output().dtype in (DType.INT8, DType.INT16)
        and is_rounded_without_clamp(step)
    )


def multipliers(step: Step, channels: int) -> npt.NDArray[np.float32]:
    """Return the multiplier of every channel."""
    return np.broadcast_to(step.array(3).astype(np.float32).reshape(-1), (channels,))


def _emit(step: Step, product: _Product) -> bool:
    y = step.output()
    channels, inner = product.weight.shape
    pixels, block = _TILE if product.pixels >= _TILE[0] else _COLUMN
    # A few pixels are read where they lie only where all of the input is there.
    is_point = product.is_point and not (block == _COLUMN[1] and step.is_streamed)
    room = (pixels * -(-inner // LANES) + 1) * LANES
    if is_point and block == _COLUMN[1]:
        room = 0
    if room > _STACK:
        return False
    step.macs = product.pixels * product.weight.size
    zero = step.operation.int_attribute("x_zero_point")
    bias = fold_zero_point(step.array(2).astype(np.int64), zero, product.weight)
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
    blocks = packed_blocks(product.weight, bias, block)
    operands = [
        step.rows(product.rows),
        step.pointer(step.input(0).name),
        step.constant("blocks", blocks, DType.UINT32),
        step.constant("multiplier", filled(multipliers(step, channels), 4), DType.FLOAT32),
    ]
    operands.append("window" if room else "NULL")
    step.call(function, parameters, *operands, step.written(y.name))
    return True
