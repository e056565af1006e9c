"""Convolutions and linear layers for the kernels of Cortex-M4 and M7."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantable.backends.c.armv7em_packing import (
    GROUP,
    Layer,
    is_joined,
    packed_blocks,
    packed_layer,
    packed_taps,
)
from quantable.backends.c.text import C_TYPES
from quantable.backends.c.unit import Step
from quantable.backends.c.windows import (
    Window,
    fold_zero_point,
    is_rounded_without_clamp,
    kernel_weight,
    window,
)
from quantable.ir import DType
from quantable.ir.streaming import Axis

_TILE_PIXELS = 3
_STACK = 32768
"""Bytes of the stack that a window may take; a larger one runs in portable C."""
_POINT = "{1, 1, 1, 1, 1, 0, 0}"


@dataclass(frozen=True, slots=True)
class _Product:
    """A product of windows with weights, as q_dsp_conv.h is told it.

    Attributes:
        height, width: Initializers of `q_axis`.
        rows: The axis of height.
        batch, depth: Images, and channels of an input pixel.
        pieces, taps: Runs in a row of the window, and pixels in each.
        pixels: Output pixels in all.
        is_point: Whether a window is one pixel, inside the input.
        weight: [outputs, runs, run].
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
    """int.Conv on unsigned bytes, channels last; of one group, or depthwise."""
    op = step.operation
    if op.string_attribute("layout", "NCHW") != "NHWC" or not _is_suited(step):
        return False
    group, geometry = op.int_attribute("group"), window(step)
    if group == geometry.in_c == geometry.out_c > 1:
        return _emit_depthwise(step, geometry)
    if group != 1:
        return False
    rows, columns = geometry.taps
    pieces = 1 if op.ints_attribute("dilations")[-1] == 1 else columns
    weight = kernel_weight(step).reshape(geometry.out_c, geometry.in_c, rows * pieces, -1)
    runs = weight.transpose(0, 2, 3, 1).reshape(geometry.out_c, rows * pieces, -1)
    is_point = rows * columns == 1 and not any(op.ints_attribute("pads"))
    pixels = math.prod(step.shape(step.output())) // geometry.out_c
    return _emit(step, _Product(
        geometry.height, geometry.width, geometry.rows, geometry.batch, geometry.in_c, pieces,
        columns // pieces, pixels, is_point, runs,
    ))  # fmt: skip


def emit_linear(step: Step) -> bool:
    """int.Linear on unsigned bytes: a 1 x 1 convolution over its rows."""
    if not _is_suited(step):
        return False
    x, weight = step.shape(step.input(0)), kernel_weight(step)
    rows = math.prod(x[:-1])
    line = f"{{{rows}, {rows}, 1, 1, 1, 0, 0}}"
    return _emit(
        step, _Product(_POINT, line, Axis(1, 1), 1, x[-1], 1, 1, rows, True, weight.T[:, None])
    )


def _emit(step: Step, product: _Product) -> bool:
    y = step.output()
    channels, runs, length = product.weight.shape
    groups = runs * -(-length // GROUP)
    tile = _TILE_PIXELS if product.pixels >= _TILE_PIXELS else 1
    if groups * tile * 8 > _STACK:
        return False
    block = 2 if tile == _TILE_PIXELS else 4
    step.macs = product.pixels * product.weight.size
    zero = step.operation.int_attribute("x_zero_point")
    layer = _layer(step, product.weight)
    facts = [product.batch, product.depth, channels, zero, product.pieces, product.taps, groups]
    facts.append(int(product.is_point))
    joined = is_joined(layer)
    function = step.instance(
        "q_dsp_conv" if tile == _TILE_PIXELS else "q_dsp_pixels",
        "q_dsp_conv.h",
        {"Y": C_TYPES[y.dtype], "JOINED": str(int(joined))},
        f"{y.dtype.value}_joined" if joined else y.dtype.value,
    )
    parameters = step.parameters(
        "q_dsp_conv",
        [product.height, product.width, *map(str, facts), step.requantization()],
    )
    step.lines.append(f"uint32_t window[{2 * tile * groups}];")
    step.call(
        function,
        parameters,
        step.rows(product.rows),
        step.pointer(step.input(0).name),
        step.constant("blocks", packed_layer(layer, block), DType.UINT32),
        "window",
        step.written(y.name),
    )
    return True


def _emit_depthwise(step: Step, geometry: Window) -> bool:
    y, channels = step.output(), geometry.in_c
    if y.dtype is not DType.UINT8:
        return False
    weight = kernel_weight(step).reshape(channels, -1)
    step.macs = math.prod(step.shape(y)) * weight.shape[1]
    zero = step.operation.int_attribute("x_zero_point")
    bias = fold_zero_point(step.array(2).astype(np.int64), zero, weight)
    pairs = -(-weight.shape[1] // 2)
    blocks = packed_blocks(packed_taps(weight), bias, _multiplier(step, channels))
    parameters = step.parameters(
        "q_dsp_depthwise_params",
        [
            geometry.height, geometry.width, str(geometry.batch), str(channels), str(pairs),
            step.requantization(),
        ],
    )  # fmt: skip
    step.lines.append(f"uintptr_t taps[{2 * weight.shape[1] + 2}];")
    step.call(
        step.shared("q_dsp_depthwise", "q_dsp_depthwise.h"),
        parameters,
        step.rows(geometry.rows),
        step.pointer(step.input(0).name),
        step.constant("blocks", blocks, DType.UINT32),
        step.constant("border", np.full(channels, zero), DType.UINT8),
        "taps",
        step.written(y.name),
    )
    return True


def _layer(step: Step, weight: npt.NDArray[np.int64]) -> Layer:
    """Return the constants of a layer; a channel that no input changes loses its weights.

    Such a channel, of a unit that training switched off, often has a huge bias, which would keep
    the whole layer from joined weights.
    """
    channels = weight.shape[0]
    flat = weight.reshape(channels, -1)
    zero = step.operation.int_attribute("x_zero_point")
    bias, multiplier = step.array(2).astype(np.int64), _multiplier(step, channels)
    positive, negative = np.maximum(flat, 0).sum(axis=1), np.maximum(-flat, 0).sum(axis=1)
    least = bias - positive * zero - negative * (255 - zero)
    most = bias + positive * (255 - zero) + negative * zero
    low, high = (_rounded(step, ends, multiplier) for ends in (least, most))
    is_fixed = low == high
    weight = np.where(is_fixed[:, None, None], 0, weight)
    bias = np.where(is_fixed, low, bias)
    multiplier = np.where(is_fixed, np.float32(1), multiplier)
    least, most = np.where(is_fixed, low, least), np.where(is_fixed, low, most)
    reach = int(np.maximum(np.abs(least), np.abs(most)).max(initial=0))
    folded = fold_zero_point(bias, zero, weight.reshape(channels, -1))
    return Layer(weight, folded, multiplier, reach)


def _rounded(
    step: Step, acc: npt.NDArray[np.int64], multiplier: npt.NDArray[np.float32]
) -> npt.NDArray[np.int64]:
    """Return what accumulators become, before the zero point is added."""
    op = step.operation
    zero = op.int_attribute("y_zero_point")
    low, high = (op.int_attribute(name) - zero for name in ("clamp_min", "clamp_max"))
    products = acc.astype(np.float32) * multiplier
    bounded = np.minimum(np.maximum(products, np.float32(low)), np.float32(high))
    rounded: npt.NDArray[np.int64] = np.rint(bounded).astype(np.int64)
    return rounded


def _multiplier(step: Step, channels: int) -> npt.NDArray[np.float32]:
    return np.broadcast_to(step.array(3).astype(np.float32).reshape(-1), (channels,))


def _is_suited(step: Step) -> bool:
    return (
        step.input(0).dtype is DType.UINT8
        and step.output().dtype in (DType.UINT8, DType.INT16)
        and is_rounded_without_clamp(step)
    )
