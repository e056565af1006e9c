"""Pools of ONNX: AveragePool, LpPool, MaxPool, and what turns the last around."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from quantable.reference.site import Builder, Kernel, Site, integers
from quantable.reference.windows import Window, outer_product


def average_pool(site: Site) -> Kernel:
    """Build an AveragePool."""
    window = Window.of(site, site.operation.ints_attribute("kernel_shape"))
    include_pad = bool(site.operation.int_attribute("count_include_pad"))
    is_plain = (
        len(window.kernel) == 2
        and window.is_symmetric
        and not window.ceil_mode
        and set(window.dilations) == {1}
        and all(2 * p <= k for p, k in zip(window.begin_pads(), window.kernel, strict=True))
    )
    if is_plain:
        pads = window.begin_pads()
        return lambda x: functional.avg_pool2d(
            x, window.kernel, window.strides, pads, count_include_pad=include_pad
        )

    def run(x: Tensor) -> Tensor:
        counts = outer_product(window.counts(x.shape[2:], include_pad))
        return window.sums(window.padded(x)) / counts.to(x.dtype)

    return run


def _max_pool(site: Site) -> Kernel:
    if len([name for name in site.operation.outputs if name]) > 1:
        return _max_pool_with_indices(site)
    window = Window.of(site, site.operation.ints_attribute("kernel_shape"))
    rank = len(window.kernel)
    is_plain = (
        rank == 2
        and window.is_symmetric
        and not window.ceil_mode
        and all(2 * p <= k for p, k in zip(window.begin_pads(), window.kernel, strict=True))
    )

    def run(x: Tensor) -> Tensor:
        if x.is_floating_point():
            return maximum(x, -math.inf)
        # float32 holds every 8 and 16-bit integer; wider ones do not occur in pools.
        return maximum(x.to(torch.float32), -math.inf).to(torch.int32).to(x.dtype)

    def maximum(x: Tensor, lowest: float) -> Tensor:
        if is_plain:
            return functional.max_pool2d(
                x, window.kernel, window.strides, window.begin_pads(), window.dilations
            )
        padded = window.padded(x, lowest)
        if rank == 2:
            return functional.max_pool2d(padded, window.kernel, window.strides, 0, window.dilations)
        return window.taps(padded).amax(dim=tuple(range(-rank, 0)))

    return run


def _max_pool_with_indices(site: Site) -> Kernel:
    window = Window.of(site, site.operation.ints_attribute("kernel_shape"))
    by_columns = bool(site.operation.int_attribute("storage_order"))
    rank = len(window.kernel)

    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        size = x.shape[2:]
        begin = window.resolve(size)[0]
        real = x if x.is_floating_point() else x.to(torch.float64)
        taps = window.taps(window.padded(real, -math.inf))
        values, best = taps.reshape(*taps.shape[: 2 + rank], -1).max(-1)
        place = torch.zeros_like(best)
        places = []
        for axis in reversed(range(rank)):
            tap = best % window.kernel[axis]
            best = best // window.kernel[axis]
            shape = [1] * (2 + rank)
            shape[2 + axis] = -1
            first = torch.arange(values.shape[2 + axis]) * window.strides[axis] - begin[axis]
            places.append((first.reshape(shape) + tap * window.dilations[axis], size[axis]))
        for position, length in places if by_columns else reversed(places):
            place = place * length + position
        plane = torch.arange(x.shape[0] * x.shape[1]).view(*x.shape[:2], *[1] * rank)
        return values.to(x.dtype), place + plane * math.prod(size)

    return run


def _max_unpool(site: Site) -> Kernel:
    op = site.operation
    kernel = op.ints_attribute("kernel_shape")
    rank = len(kernel)
    strides = op.ints_attribute("strides", (1,) * rank)
    pads = op.ints_attribute("pads", (0,) * (2 * rank))

    def run(x: Tensor, indices: Tensor, shape: Tensor | None = None) -> Tensor:
        size = [
            (length - 1) * stride + extent - low - high
            for length, stride, extent, low, high in zip(
                x.shape[2:], strides, kernel, pads[:rank], pads[rank:], strict=True
            )
        ]
        full = x.new_zeros(math.prod((*x.shape[:2], *size)))
        full = full.scatter(0, indices.reshape(-1), x.reshape(-1)).reshape(*x.shape[:2], *size)
        if shape is None:
            return full
        # The indices count in the size that the attributes give; what is larger has zeros behind.
        wanted = integers(shape)
        more = [n for have, want in zip(full.shape, wanted, strict=True) for n in (want - have, 0)]
        return functional.pad(full, more[::-1])

    return run


def _global_lp_pool(site: Site) -> Kernel:
    order = site.operation.int_attribute("p", 2)
    return lambda x: torch.linalg.vector_norm(x, order, tuple(range(2, x.dim())), True)


def _lp_pool(site: Site) -> Kernel:
    window = Window.of(site, site.operation.ints_attribute("kernel_shape"))
    order = site.operation.int_attribute("p", 2)

    def run(x: Tensor) -> Tensor:
        return window.sums(window.padded(torch.abs(x) ** order)) ** (1.0 / order)

    return run


TABLE: dict[str, Builder] = {
    "AveragePool": average_pool,
    "GlobalLpPool": _global_lp_pool,
    "LpPool": _lp_pool,
    "MaxPool": _max_pool,
    "MaxUnpool": _max_unpool,
}
