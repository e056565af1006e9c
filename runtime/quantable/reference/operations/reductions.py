"""Reductions of ONNX; axes are an input since opset 18 (ReduceSum: 13), an attribute before."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from quantable.reference.site import Builder, Kernel, Site, fixed, integers

Reduction = Callable[[Tensor, tuple[int, ...], bool], Tensor]


def _product(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    for axis in sorted((a % x.dim() for a in axes), reverse=True):
        x = torch.prod(x, axis, keepdim=keep, dtype=x.dtype)
    return x


def _sum(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    return torch.sum(x, axes, keep, dtype=x.dtype)


def _mean(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    if x.is_floating_point():
        return torch.mean(x, axes, keep)
    return torch.mean(x.to(torch.float64), axes, keep).to(x.dtype)


def _extremum(function: Callable[..., Tensor], is_maximum: bool) -> Reduction:
    def run(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
        if x.numel():
            return function(x, axes, keep)
        # Over no elements: the number that no element of the type is beyond.
        shape = torch.empty_like(x, dtype=torch.float32).sum(axes, keep).shape
        if x.dtype is torch.bool:
            return torch.full(shape, not is_maximum)
        if x.is_floating_point():
            return torch.full(shape, -math.inf if is_maximum else math.inf, dtype=x.dtype)
        limits = torch.iinfo(x.dtype)
        return torch.full(shape, limits.min if is_maximum else limits.max, dtype=x.dtype)

    return run


def _reduction(function: Reduction) -> Builder:
    def build(site: Site) -> Kernel:
        op = site.operation
        keep = bool(op.int_attribute("keepdims", 1))
        noop = bool(op.int_attribute("noop_with_empty_axes"))
        attribute = op.ints_attribute("axes") if "axes" in op.attributes else site.integers(1)

        def run(x: Tensor, given: Tensor | None = None) -> Tensor:
            axes = attribute
            if axes is None and given is not None:
                axes = integers(given)
            if not axes and not noop:
                axes = tuple(range(x.dim()))
            # Over no axis, every element is a sum of its own: the square of it, the logarithm.
            return function(x, axes, keep) if axes else function(x.unsqueeze(-1), (-1,), False)

        return run

    return build


def _arg(function: Callable[..., Tensor]) -> Builder:
    def build(site: Site) -> Kernel:
        axis = site.operation.int_attribute("axis")
        keep = bool(site.operation.int_attribute("keepdims", 1))
        last = bool(site.operation.int_attribute("select_last_index"))

        def run(x: Tensor) -> Tensor:
            if not last:
                return function(x, axis, keep)
            return x.shape[axis] - 1 - function(x.flip(axis), axis, keep)

        return run

    return build


def _cumulative(function: Callable[..., Tensor], neutral: int) -> Builder:
    def build(site: Site) -> Kernel:
        exclusive = bool(site.operation.int_attribute("exclusive"))
        reverse = bool(site.operation.int_attribute("reverse"))

        def run(x: Tensor, axis: Tensor) -> Tensor:
            dim = int(axis.item())
            x = x.flip(dim) if reverse else x
            if exclusive and x.shape[dim]:
                first = torch.full_like(x.narrow(dim, 0, 1), neutral)
                x = torch.cat([first, x.narrow(dim, 0, x.shape[dim] - 1)], dim)
            total = function(x, dim, dtype=x.dtype)
            return total.flip(dim) if reverse else total

        return run

    return build


TABLE: dict[str, Builder] = {
    "ArgMax": _arg(torch.argmax),
    "ArgMin": _arg(torch.argmin),
    "CumProd": _cumulative(torch.cumprod, 1),
    "CumSum": _cumulative(torch.cumsum, 0),
    "GlobalAveragePool": fixed(lambda x: torch.mean(x, tuple(range(2, x.dim())), True)),
    "GlobalMaxPool": fixed(lambda x: torch.amax(x, tuple(range(2, x.dim())), True)),
    "ReduceL1": _reduction(lambda x, axes, keep: _sum(torch.abs(x), axes, keep)),
    "ReduceL2": _reduction(lambda x, axes, keep: torch.sqrt(_sum(x * x, axes, keep))),
    "ReduceLogSum": _reduction(lambda x, axes, keep: torch.log(_sum(x, axes, keep))),
    "ReduceLogSumExp": _reduction(torch.logsumexp),
    "ReduceMax": _reduction(_extremum(torch.amax, True)),
    "ReduceMean": _reduction(_mean),
    "ReduceMin": _reduction(_extremum(torch.amin, False)),
    "ReduceProd": _reduction(_product),
    "ReduceSum": _reduction(_sum),
    "ReduceSumSquare": _reduction(lambda x, axes, keep: _sum(x * x, axes, keep)),
}
