"""Convolutions and linear layers for scalar RISC-V cores."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from quantable.backends.c.accumulators import Layer, settled
from quantable.backends.c.fixed_point import fixed_point
from quantable.backends.c.text import C_TYPES
from quantable.backends.c.unit import Step
from quantable.backends.c.windows import Window, fold_zero_point, kernel_weight, window
from quantable.ir import DType

BLOCK = 4
"""Output channels whose weights lie side by side, and pixels of a tile."""
_STACK = 32768
"""Bytes of the stack that windows may take; larger ones run in portable C."""
_PLANE = {1: 1024, 2: 256}
"""Bytes of an image of one channel that is copied before it is read, by stride."""
_LINE = 64
"""Outputs of a line whose sums are held at a time."""
_POINT = "{1, 1, 1, 1, 1, 0, 0}"


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
    weight = kernel_weight(step).reshape(geometry.out_c, geometry.in_c, *geometry.taps)
    products = np.moveaxis(weight, 1, -1).reshape(geometry.out_c, -1)
    is_direct = op.ints_attribute("dilations")[-1] == 1
    is_copied = any(op.ints_attribute("pads")) or not is_direct
    facts = [geometry.height, geometry.width, str(geometry.batch), str(geometry.in_c)]
    return _emit(step, facts, products, is_direct=is_direct, is_copied=is_copied)


def emit_linear(step: Step) -> bool:
    """int.Linear on unsigned bytes: a 1 x 1 convolution over its rows."""
    if not _is_suited(step):
        return False
    x = step.shape(step.input(0))
    rows = math.prod(x[:-1])
    line = f"{{{rows}, {rows}, 1, 1, 1, 0, 0}}"
    products = kernel_weight(step).T
    return _emit(step, [_POINT, line, "1", str(x[-1])], products, is_direct=True, is_copied=False)


def _emit(
    step: Step,
    geometry: list[str],
    products: npt.NDArray[np.int64],
    *,
    is_direct: bool,
    is_copied: bool,
) -> bool:
    """Emit a product of windows with weights [outputs, products]."""
    y, (channels, length) = step.output(), products.shape
    if is_copied and BLOCK * length > _STACK:
        return False
    step.macs = math.prod(step.shape(y)) * length
    layer = settled(step, products)
    zero = step.operation.int_attribute("x_zero_point")
    facts = [channels, zero, length, int(is_direct)]
    parameters = step.parameters(
        "q_scalar_conv",
        [*geometry, *map(str, facts), _fixed(step, layer)],
    )
    if is_copied:
        step.lines.append(f"uint8_t windows[{BLOCK * length}];")
    step.call(
        step.instance("q_scalar_conv", "q_scalar_conv.h", {"Y": C_TYPES[y.dtype]}, y.dtype.value),
        parameters,
        step.pointer(step.input(0).name),
        step.constant("weight", _blocks(layer.weight), DType.INT8),
        step.constant("bias", _filled(_folded(layer, zero)), DType.INT32),
        step.constant("multiplier", layer.multiplier, DType.FLOAT32),
        "windows" if is_copied else "NULL",
        step.pointer(y.name),
    )
    return True


def _emit_depthwise(step: Step, geometry: Window) -> bool:
    op, y, channels = step.operation, step.output(), geometry.in_c
    if y.dtype is not DType.UINT8:
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
        [geometry.height, geometry.width, *map(str, facts), _fixed(step, layer)],
    )
    if plane:
        step.lines.append(f"uint8_t plane[{plane}];")
    step.call(
        step.shared("q_scalar_depthwise", "q_scalar_depthwise.h"),
        parameters,
        step.pointer(step.input(0).name),
        step.constant("weight", layer.weight, DType.INT8),
        step.constant("bias", _folded(layer, zero), DType.INT32),
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


def _fixed(step: Step, layer: Layer) -> str:
    return fixed_point(step, layer.reach, layer.multiplier).initializer()


def _folded(layer: Layer, zero: int) -> npt.NDArray[np.int64]:
    return fold_zero_point(layer.bias, zero, layer.weight)


def _filled(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return values of whole blocks, filled up with zeros."""
    return np.concatenate([values, np.zeros(-values.size % BLOCK, np.int64)])


def _blocks(weight: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return weights [outputs, products] as [blocks, products, channels of a block]."""
    channels, length = weight.shape
    full = np.zeros((channels + -channels % BLOCK, length), np.int64)
    full[:channels] = weight
    return full.reshape(-1, BLOCK, length).transpose(0, 2, 1)


def _is_suited(step: Step) -> bool:
    is_output = step.output().dtype in (DType.UINT8, DType.INT16)
    return step.input(0).dtype is DType.UINT8 and is_output
