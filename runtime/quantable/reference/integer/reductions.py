"""int.MaxPool, int.AveragePool, int.ReduceMean, int.Softmax and int.LayerNormalization."""

from __future__ import annotations

import torch
from torch import Tensor

from quantable.reference.integer.layout import channels_first
from quantable.reference.integer.requantize import (
    constant,
    exact_type,
    narrow,
    operand_type,
    output_type,
    reach,
    requantizer,
)
from quantable.reference.operations.pooling import TABLE as FLOAT_POOLING
from quantable.reference.site import Builder, Kernel, Site
from quantable.reference.windows import Window, outer_product


def _max_pool(site: Site) -> Kernel:
    return channels_first(site, FLOAT_POOLING["MaxPool"](site))


def _average_pool(site: Site) -> Kernel:
    op = site.operation
    zero = op.int_attribute("x_zero_point")
    window = Window.of(site, op.ints_attribute("kernel_shape"))
    include_pad = bool(op.int_attribute("count_include_pad"))
    positions = 1
    for length in window.kernel:
        positions *= length
    work = exact_type(positions * reach(operand_type(site, 0), zero), op.where())
    multipliers, finish = constant(site, 1), requantizer(site)

    def run(x: Tensor, *_: Tensor) -> Tensor:
        sums = window.sums(window.padded(x.to(work) - zero))
        counts = outer_product(window.counts(x.shape[2:], include_pad))
        return finish(sums, multipliers[(counts - 1).clamp_(min=0)])

    return channels_first(site, run)


def _reduce_mean(site: Site) -> Kernel:
    op = site.operation
    zero, axes = op.int_attribute("x_zero_point"), op.ints_attribute("axes")
    keep = bool(op.int_attribute("keepdims", 1))
    multiplier, finish = op.float_attribute("multiplier"), requantizer(site)

    def run(x: Tensor) -> Tensor:
        return finish((x.to(torch.int64) - zero).sum(axes, keep), multiplier)

    return run


def _softmax(site: Site) -> Kernel:
    op = site.operation
    zero, bits = op.int_attribute("y_zero_point"), op.int_attribute("fraction_bits")
    high, low = (constant(site, slot).to(torch.int64) for slot in (1, 2))
    to = output_type(site)

    def run(x: Tensor, *_: Tensor) -> Tensor:
        wide = x.to(torch.int64)
        below = wide.amax(-1, keepdim=True) - wide
        # At most 2**30 * 2**30 + 2**29: inside int64, so that uint64 would give the same.
        e = (high[below >> 8] * low[below & 255] + (1 << 29)) >> 30
        total = e.sum(-1, keepdim=True)
        y = torch.div((e << bits) + (total >> 1), total, rounding_mode="floor")
        return narrow(y.clamp_(max=(1 << bits) - 1) + zero, to)

    return run


def _layer_normalization(site: Site) -> Kernel:
    op = site.operation
    epsilon, multiplier = op.int_attribute("epsilon"), op.float_attribute("multiplier")
    gamma, beta = (constant(site, slot).to(torch.int64) for slot in (1, 2))
    finish = requantizer(site)

    def run(x: Tensor, *_: Tensor) -> Tensor:
        wide = x.to(torch.int64)
        length = x.shape[-1]
        s1 = wide.sum(-1, keepdim=True)
        s2 = (wide * wide).sum(-1, keepdim=True)
        v = length * s2 - s1 * s1 + epsilon
        r = 16384.0 / torch.sqrt(v.to(torch.float64))
        n = torch.round((length * wide - s1).to(torch.float64) * r).to(torch.int64)
        return finish(n * gamma + beta, multiplier)

    return run


TABLE: dict[str, Builder] = {
    "int.AveragePool": _average_pool,
    "int.LayerNormalization": _layer_normalization,
    "int.MaxPool": _max_pool,
    "int.ReduceMean": _reduce_mean,
    "int.Softmax": _softmax,
}
