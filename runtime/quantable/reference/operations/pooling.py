"""AveragePool, MaxPool and LpPool of ONNX."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from quantable.reference.site import Builder, Kernel, Site
from quantable.reference.windows import Window, outer_product


def _average_pool(site: Site) -> Kernel:
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
        raise site.refuse("the output of indices is not supported")
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


def _lp_pool(site: Site) -> Kernel:
    window = Window.of(site, site.operation.ints_attribute("kernel_shape"))
    order = site.operation.int_attribute("p", 2)

    def run(x: Tensor) -> Tensor:
        return window.sums(window.padded(torch.abs(x) ** order)) ** (1.0 / order)

    return run


TABLE: dict[str, Builder] = {
    "AveragePool": _average_pool,
    "LpPool": _lp_pool,
    "MaxPool": _max_pool,
}
