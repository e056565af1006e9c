"""int.Conv, int.Linear and int.MatMul: exact sums of products in floats that are wide enough.

Why this is exact: every product and every partial sum, in whatever order and with whatever fused
multiply-adds, is an integer whose magnitude the proven bound limits, and a float type represents
each of these integers. So no operation rounds.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from quantable.reference.integer.layout import channels_first
from quantable.reference.integer.requantize import (
    FLOAT32_EXACT,
    constant,
    exact_type,
    operand_type,
    reach,
    requantizer,
)
from quantable.reference.operations.convolution import HAS_ONEDNN, prepared_convolution
from quantable.reference.operations.products import prepared_product
from quantable.reference.site import Builder, Kernel, Site
from quantable.reference.windows import Window

_ROWS = 64
"""How many rows of a matrix a part has at least on average; fewer are slower than float64."""


def accumulator_bound(weight: Tensor, bias: Tensor, reach: int, channel_axis: int) -> int:
    """Return max over output channels of ``sum(abs(w)) * reach + abs(bias)``.

    Args:
        weight: Integers of any shape.
        bias: Integers, one an output channel.
        reach: Largest magnitude of x - zero_point.
        channel_axis: Axis of the weight's output channels.
    """
    if not weight.numel():
        return int(bias.abs().max()) if bias.numel() else 0
    rows = weight.to(torch.int64).movedim(channel_axis, 0).flatten(1).abs().sum(1)
    return int((rows * reach + bias.to(torch.int64).abs()).max())


def _channel_parts(weight: Tensor, reach: int) -> list[slice] | None:
    """Cut the input channels into parts whose sums float32 holds; None where none is that small.

    Args:
        weight: [O, I, *kernel], integers.
        reach: Largest magnitude of x - zero_point.
    """
    sums = weight.to(torch.int64).abs().flatten(2).sum(2)
    parts, start = [], 0
    while start < sums.shape[1]:
        bounds = sums[:, start:].cumsum(1).amax(0) * reach
        count = int((bounds < FLOAT32_EXACT).sum())
        if not count:
            return None
        parts.append(slice(start, start + count))
        start += count
    return parts


def _accumulator(site: Site, window: Window) -> Callable[[Tensor], Tensor]:
    """Return x -> exact accumulator, without the bias, of an int.Conv."""
    op, weight = site.operation, constant(site, 1)
    zero, group = op.int_attribute("x_zero_point"), op.int_attribute("group", 1)
    distance = reach(operand_type(site, 0), zero)
    none = torch.zeros(weight.shape[0], dtype=torch.int32)
    work = exact_type(accumulator_bound(weight, none, distance, 0), op.where())
    if not HAS_ONEDNN:
        # Other float32 convolutions may transform their input (Winograd, FFT), which rounds.
        work = torch.float64
    shape = site.input_shape()
    is_last = op.string_attribute("layout", "NCHW") == "NHWC"
    size = None if shape is None else shape[1:-1] if is_last else shape[2:]
    parts = _channel_parts(weight, distance) if group == 1 and HAS_ONEDNN else None
    if work is torch.float32 or parts is None:
        whole = prepared_convolution(window, weight.to(work), None, group, size)
        return lambda x: whole(x.to(work) - zero)
    convolutions = [
        (part, prepared_convolution(window, weight[:, part].to(torch.float32), None, 1, size))
        for part in parts
    ]

    def run(x: Tensor) -> Tensor:
        # Each part is exact in float32, and their sum in float64.
        centred = x.to(torch.float32) - zero
        sums = [convolve(centred[:, part]).to(torch.float64) for part, convolve in convolutions]
        return functools.reduce(torch.add, sums)

    return run


def _convolution(site: Site) -> Kernel:
    op = site.operation
    weight, bias = constant(site, 1), constant(site, 2)
    window = Window.of(site, op.ints_attribute("kernel_shape"))
    distance = reach(operand_type(site, 0), op.int_attribute("x_zero_point"))
    work = exact_type(accumulator_bound(weight, bias, distance, 0), op.where())
    accumulate, finish = _accumulator(site, window), requantizer(site)
    ones = [1] * len(window.kernel)
    added, multiplier = bias.to(work).view(-1, *ones), constant(site, 3).view(-1, *ones)
    return channels_first(site, lambda x, *_: finish(accumulate(x) + added, multiplier))


def _matrix_accumulator(site: Site) -> Callable[[Tensor], Tensor]:
    """Return x -> exact accumulator, without the bias, of an int.Linear."""
    op, weight = site.operation, constant(site, 1)
    zero = op.int_attribute("x_zero_point")
    distance = reach(operand_type(site, 0), zero)
    none = torch.zeros(weight.shape[1], dtype=torch.int32)
    work = exact_type(accumulator_bound(weight, none, distance, 1), op.where())
    parts = _channel_parts(weight.t().unsqueeze(2), distance) if HAS_ONEDNN else None
    if work is torch.float32 or parts is None or len(parts) * _ROWS > weight.shape[0]:
        whole = prepared_product(weight.to(work))
        return lambda x: whole(x.to(work) - zero, None)
    products = [(part, prepared_product(weight[part].to(torch.float32))) for part in parts]

    def run(x: Tensor) -> Tensor:
        # Each part is exact in float32, and their sum in float64.
        centred = x.to(torch.float32) - zero
        sums = [multiply(centred[..., part], None).to(torch.float64) for part, multiply in products]
        return functools.reduce(torch.add, sums)

    return run


def _linear(site: Site) -> Kernel:
    op = site.operation
    weight, bias, multiplier = (constant(site, slot) for slot in (1, 2, 3))
    distance = reach(operand_type(site, 0), op.int_attribute("x_zero_point"))
    work = exact_type(accumulator_bound(weight, bias, distance, 1), op.where())
    accumulate, finish = _matrix_accumulator(site), requantizer(site)
    added = bias.to(work)
    return lambda x, *_: finish(accumulate(x) + added, multiplier)


def _matrix_product(site: Site) -> Kernel:
    op = site.operation
    zero_a, zero_b = op.int_attribute("a_zero_point"), op.int_attribute("b_zero_point")
    term = reach(operand_type(site, 0), zero_a) * reach(operand_type(site, 1), zero_b)
    multiplier = op.float_attribute("multiplier")
    finish = requantizer(site)

    def run(a: Tensor, b: Tensor) -> Tensor:
        work = exact_type(a.shape[-1] * term, op.where())
        return finish(torch.matmul(a.to(work) - zero_a, b.to(work) - zero_b), multiplier)

    return run


TABLE: dict[str, Builder] = {
    "int.Conv": _convolution,
    "int.Linear": _linear,
    "int.MatMul": _matrix_product,
}
