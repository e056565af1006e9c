"""Convolutions and linear layers for the kernels of Cortex-M4 and M7."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from quantable.backends.c.accumulators import Layer, multipliers, settled
from quantable.backends.c.armv7em_packing import (
    GROUP,
    is_joined,
    packed_blocks,
    packed_layer,
    packed_taps,
)
from quantable.backends.c.cortex_m_products import (
    STACK,
    Product,
    conv_product,
    linear_product,
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

_TILE_PIXELS = 3


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
    return _emit(step, conv_product(step))


def emit_linear(step: Step) -> bool:
    """int.Linear on unsigned bytes."""
    return _is_suited(step) and _emit(step, linear_product(step))


def _emit(step: Step, product: Product) -> bool:
    y = step.output()
    channels, runs, length = product.weight.shape
    groups = runs * -(-length // GROUP)
    tile = _TILE_PIXELS if product.pixels >= _TILE_PIXELS else 1
    if groups * tile * 8 > STACK:
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
    blocks = packed_blocks(packed_taps(weight), bias, multipliers(step, channels))
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
    """Return the constants of a layer, weight [outputs, runs, run]."""
    layer = settled(step, weight.reshape(weight.shape[0], -1))
    folded = fold_zero_point(layer.bias, step.operation.int_attribute("x_zero_point"), layer.weight)
    return replace(layer, weight=layer.weight.reshape(weight.shape), bias=folded)


def _is_suited(step: Step) -> bool:
    return (
        step.input(0).dtype is DType.UINT8
        and step.output().dtype in (DType.UINT8, DType.INT16)
        and is_rounded_without_clamp(step)
    )
