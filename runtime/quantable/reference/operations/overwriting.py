"""Kernels that write their result over an input that nobody reads any more.

Fresh memory of megabytes costs as much as the arithmetic of an elementwise operation. The results
are those of the plain kernels, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from quantable.ir import DType
from quantable.reference.operations.elementwise import clip_bounds
from quantable.reference.site import Kernel, Site, fixed

FRESH = frozenset({
    "Add", "BatchNormalization", "Conv", "ConvTranspose", "Div", "Gelu", "LayerNormalization",
    "MatMul", "Mul", "Relu", "Sigmoid", "Softmax", "Sub", "Tanh", "quantable.Linear",
})  # fmt: skip
"""Kinds whose kernels return memory that nothing else refers to."""


def _clip(site: Site) -> Kernel | None:
    bounds = clip_bounds(site)
    if bounds is None or bounds == (None, None):
        return None
    low, high = bounds
    return lambda x, *_: x.clamp_(low, high)


def _gelu(site: Site) -> Kernel:
    form = site.operation.string_attribute("approximate", "none")
    return lambda x: torch.ops.aten.gelu_(x, approximate=form)


def _leaky_relu(site: Site) -> Kernel:
    alpha = site.operation.float_attribute("alpha", 0.01)
    return lambda x: functional.leaky_relu_(x, alpha)


UNARY: Mapping[str, Callable[[Site], Kernel | None]] = {
    "Clip": _clip,
    "Erf": fixed(torch.erf_),
    "Gelu": _gelu,
    "LeakyRelu": _leaky_relu,
    "Relu": fixed(torch.relu_),
    "Sigmoid": fixed(torch.sigmoid_),
    "Tanh": fixed(torch.tanh_),
}
"""What writes over the first input, by kind; None where the result would be another."""
BINARY: Mapping[str, Callable[..., Any]] = {
    "Add": torch.add,
    "Div": torch.div,
    "Mul": torch.mul,
    "Sub": torch.sub,
}
"""What writes over either input, by kind."""


def makes_fresh(site: Site) -> bool:
    """Whether what an operation returns has memory that nothing else refers to."""
    is_clip = site.operation.kind == "Clip" and clip_bounds(site) not in (None, (None, None))
    return is_clip or site.operation.kind in FRESH


def overwriting(site: Site, slot: int) -> Kernel | None:
    """Return the kernel that writes over an input slot, None where there is none.

    What the slot holds has to be memory that nothing else refers to.
    """
    kind = site.operation.kind
    types = {site.output_type(), *(t for t in site.input_types if t is not None)}
    if types != {DType.FLOAT32}:
        return None
    if kind in UNARY and slot == 0:
        return UNARY[kind](site)
    return _binary(BINARY[kind], slot) if kind in BINARY else None


def _binary(function: Callable[..., Any], slot: int) -> Kernel:
    def run(a: Tensor, b: Tensor) -> Any:
        target, other = (a, b) if slot == 0 else (b, a)
        fits = a.shape == b.shape or (other.numel() == 1 and other.dim() <= target.dim())
        return function(a, b, out=target) if fits else function(a, b)

    return run
