"""int.Conv, int.Linear and int.MatMul: exact sums of products in floats that are wide enough.

Why this is exact: every product and every partial sum, in whatever order and with whatever fused
multiply-adds, is an integer whose magnitude the proven bound limits, and a float type represents
each of these integers. So no operation rounds.
"""

from __future__ import annotations

import torch
from torch import Tensor

from quantable.reference.integer.layout import channels_first
from quantable.reference.integer.requantize import (
    constant,
    exact_type,
    operand_type,
    reach,
    requantizer,
)
from quantable.reference.operations.convolution import CONVOLUTIONS
from quantable.reference.site import Builder, Kernel, Site
from quantable.reference.windows import Window


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


def _convolution(site: Site) -> Kernel:
    op = site.operation
    weight, bias = constant(site, 1), constant(site, 2)
    zero = op.int_attribute("x_zero_point")
    window = Window.of(site, op.ints_attribute("kernel_shape"))
    group = op.int_attribute("group", 1)
    bound = accumulator_bound(weight, bias, reach(operand_type(site, 0), zero), 0)
    work = exact_type(bound, op.where())
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        # Other float32 convolutions may transform their input (Winograd, FFT), which rounds.
        work = torch.float64
    finish = requantizer(site)
    w, b = weight.to(work), bias.to(work)
    rank = len(window.kernel)
    multiplier = constant(site, 3).reshape(1, -1, *[1] * rank)

    def run(x: Tensor, *_: Tensor) -> Tensor:
        centred = x.to(work) - zero
        pads = window.begin_pads()
        if not window.is_symmetric:
            centred, pads = window.padded(centred), (0,) * rank
        acc = CONVOLUTIONS[rank](centred, w, b, window.strides, pads, window.dilations, group)
        return finish(acc, multiplier)

    return channels_first(site, run)


def _linear(site: Site) -> Kernel:
    op = site.operation
    weight, bias, multiplier = (constant(site, slot) for slot in (1, 2, 3))
    zero = op.int_attribute("x_zero_point")
    bound = accumulator_bound(weight, bias, reach(operand_type(site, 0), zero), 1)
    work = exact_type(bound, op.where())
    finish = requantizer(site)
    w, b = weight.to(work), bias.to(work)

    def run(x: Tensor, *_: Tensor) -> Tensor:
        return finish(torch.matmul(x.to(work) - zero, w) + b, multiplier)

    return run


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
