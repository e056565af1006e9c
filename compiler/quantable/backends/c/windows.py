"""Convolutions, linear layers and pools."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantable.backends.c.elements import distance
from quantable.backends.c.text import braces
from quantable.backends.c.unit import Step
from quantable.ir import DType, UnsupportedError
from quantable.ir.streaming import Axis

_WEIGHTS = (DType.INT8, DType.INT4)
_ROUNDED = 2.0**30
"""Products of accumulators and multipliers below can be rounded without a clamp before."""


@dataclass(frozen=True, slots=True)
class Window:
    """A window over two spatial axes: C initializers and sizes.

    Attributes:
        height, width: Initializers of `q_axis`.
        batch, in_c, out_c: Sizes.
        taps: Positions in the window.
        is_channels_last: The layout.
        rows: The axis of height.
    """

    height: str
    width: str
    batch: int
    in_c: int
    out_c: int
    taps: tuple[int, int]
    is_channels_last: bool
    rows: Axis


def window(step: Step) -> Window:
    """Read the geometry of a convolution or pool with 1 or 2 spatial dimensions.

    Raises:
        UnsupportedError: It has another number of them, or an unknown layout.
    """
    op = step.operation
    layout = op.string_attribute("layout", "NCHW")
    x, y = step.shape(step.input(0)), step.shape(step.output())
    kernel = op.ints_attribute("kernel_shape")
    rank = len(kernel)
    if rank not in (1, 2) or len(x) != rank + 2 or layout not in ("NHWC", "NCHW"):
        raise UnsupportedError(
            f"expected 1 or 2 spatial dimensions in NHWC or NCHW, found {rank} of {x} in {layout}",
            where=op.where(),
        )
    last = layout == "NHWC"
    spatial = slice(1, -1) if last else slice(2, None)
    pads = op.ints_attribute("pads")
    columns = (
        x[spatial], y[spatial], kernel, op.ints_attribute("strides"),
        op.ints_attribute("dilations"), pads[:rank], pads[rank:],
    )  # fmt: skip
    rows = list(zip(*columns, strict=True))
    _check_reach(step, rows)
    axes = [braces(row) for row in rows]
    axes = ["{1, 1, 1, 1, 1, 0, 0}"] * (2 - rank) + axes
    height = Axis(*rows[0][:-1]) if rank == 2 else Axis(1, 1)
    taps = (1, *kernel) if rank == 1 else kernel
    channel = -1 if last else 1
    return Window(axes[0], axes[1], x[0], x[channel], y[channel], (taps[0], taps[1]), last,
                  height)  # fmt: skip


def _check_reach(step: Step, axes: list[tuple[int, ...]]) -> None:
    """Refuse a pool that has a window without any position of the input: it has no value."""
    if step.operation.kind == "int.Conv":
        return
    for size, out, kernel, stride, dilation, begin, _ in axes:
        origins = np.arange(out)[:, None] * stride - begin
        positions = origins + np.arange(kernel) * dilation
        if not ((positions >= 0) & (positions < size)).any(axis=1).all():
            raise UnsupportedError(
                "expected every window to reach the input, found one in the padding alone",
                where=step.operation.where(),
            )


def emit_conv(step: Step) -> None:
    """int.Conv: depthwise, channels-last or channels-first kernel."""
    op, geometry = step.operation, window(step)
    group = op.int_attribute("group")
    weight = kernel_weight(step)
    zero = op.int_attribute("x_zero_point")
    is_depthwise = group == geometry.in_c == geometry.out_c
    bias = step.array(2).astype(np.int64)
    stem = "q_conv_planar"
    packed = np.moveaxis(weight.reshape(geometry.out_c, -1, *geometry.taps), 1, -1)
    if geometry.is_channels_last and is_depthwise:
        stem = "q_depthwise"
        packed = np.moveaxis(packed[..., 0], 0, -1)
    elif geometry.is_channels_last:
        stem = "q_conv"
        bias = fold_zero_point(bias, zero, weight.reshape(geometry.out_c, -1))
    facts = [geometry.batch, geometry.in_c, geometry.out_c, group, zero]
    parameters = step.parameters(
        "q_conv",
        [geometry.height, geometry.width, *map(str, facts), step.requantization()],
    )
    if stem != "q_conv_planar":
        parameters += f", {step.rows(geometry.rows)}"
    y = step.shape(step.output())
    step.macs = int(np.prod(y)) * weight[0].size
    _call(step, stem, parameters, packed, bias)


def emit_linear(step: Step) -> None:
    """int.Linear: a 1 x 1 convolution over its rows."""
    x = step.shape(step.input(0))
    weight = kernel_weight(step)
    rows, (inner, columns) = int(np.prod(x[:-1])), weight.shape
    zero = step.operation.int_attribute("x_zero_point")
    bias = fold_zero_point(step.array(2).astype(np.int64), zero, weight.T)
    point = "{1, 1, 1, 1, 1, 0, 0}"
    line = f"{{{rows}, {rows}, 1, 1, 1, 0, 0}}"
    facts = [1, inner, columns, 1, zero]
    parameters = step.parameters("q_conv", [point, line, *map(str, facts), step.requantization()])
    parameters += f", {step.rows(Axis(1, 1))}"
    step.macs = rows * weight.size
    _call(step, "q_conv", parameters, weight.T, bias)


def fold_zero_point(
    bias: npt.NDArray[np.int64], zero: int, weight: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return ``bias - zero * sum(weight)`` modulo 2**32, weight [outputs, products]."""
    folded: npt.NDArray[np.int64] = (bias - zero * weight.sum(axis=1)).astype(np.int32)
    return folded.astype(np.int64)


def kernel_weight(step: Step) -> npt.NDArray[np.int64]:
    """Return the weights of a convolution or linear layer.

    Raises:
        UnsupportedError: They are computed, or no 8-bit or 4-bit integers.
    """
    dtype = step.input(1).dtype
    if dtype not in _WEIGHTS:
        raise UnsupportedError(
            f"expected weights of type i8 or i4, found {dtype.value}",
            where=step.operation.where(),
        )
    return step.array(1).astype(np.int64)


def is_rounded_without_clamp(step: Step, is_saturating: bool = False) -> bool:
    """Whether no inputs make an accumulator whose product with its multiplier leaves int32.

    Where conversions saturate, only the accumulator itself has to stay inside.
    """
    return _reach(step) < (math.inf if is_saturating else _ROUNDED)


def _reach(step: Step) -> float:
    """Return the largest product of an accumulator and its multiplier that inputs can make."""
    weight = kernel_weight(step)
    axis = 0 if step.operation.kind == "int.Conv" else 1
    sums = np.abs(np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)).sum(axis=1)
    zero = step.operation.int_attribute("x_zero_point")
    bias = np.abs(step.array(2).astype(np.float64))
    largest = sums * float(distance(step.input(0), zero)) + bias
    if largest.max(initial=0.0) >= 2.0**31:
        return math.inf
    multiplier = np.abs(step.array(3).astype(np.float64))
    return float((largest * multiplier).max(initial=0.0))


def _call(
    step: Step,
    stem: str,
    parameters: str,
    weight: npt.NDArray[np.int64],
    bias: npt.NDArray[np.int64],
) -> None:
    x, y = step.input(0), step.output()
    step.call(
        step.kernel(stem, f"{stem}.h", X=x.dtype, Y=y.dtype),
        parameters,
        step.pointer(x.name),
        step.constant("weight", weight, DType.INT8),
        step.constant("bias", bias, DType.INT32),
        step.multipliers(3),
        step.written(y.name),
    )


def emit_max_pool(step: Step) -> None:
    """int.MaxPool."""
    x, y = step.input(0), step.output()
    parameters = pool_parameters(step, ["0", "0", "{0, 0, 0}"])
    function = step.kernel("q_max_pool", "q_pool.h", X=x.dtype, Y=y.dtype)
    rows = step.rows(window(step).rows)
    step.call(function, parameters, rows, step.pointer(x.name), step.written(y.name))


def emit_average_pool(step: Step) -> None:
    """int.AveragePool."""
    x, y = step.input(0), step.output()
    facts = step.fact("x_zero_point", "count_include_pad")
    parameters = pool_parameters(step, [*facts, step.requantization()])
    function = step.kernel("q_average_pool", "q_pool.h", X=x.dtype, Y=y.dtype)
    multiplier = step.multipliers(1)
    rows = step.rows(window(step).rows)
    step.call(function, parameters, rows, step.pointer(x.name), multiplier, step.written(y.name))


def pool_parameters(step: Step, facts: list[str]) -> str:
    """Add the parameters of a pool, the last of them given, and return what points to them."""
    geometry = window(step)
    planes = (geometry.batch, geometry.in_c)
    if not geometry.is_channels_last:
        planes = (geometry.batch * geometry.in_c, 1)
    fields = [geometry.height, geometry.width, *map(str, planes), *facts]
    return step.parameters("q_pool", fields)
