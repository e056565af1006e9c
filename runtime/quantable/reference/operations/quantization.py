"""QuantizeLinear and DequantizeLinear of ONNX (per tensor, per axis, blocked)."""

from __future__ import annotations

import torch
from torch import Tensor

from quantable.reference.site import Builder, Kernel, Site
from quantable.reference.tensors import TORCH_TYPES, onnx_type

_IR_TYPES = {torch_type: dtype for dtype, torch_type in reversed(list(TORCH_TYPES.items()))}


def _spread(values: Tensor, rank: int, axis: int, block: int, length: int) -> Tensor:
    """Make scales or zero points broadcast against a tensor of `rank` dimensions."""
    if values.numel() == 1:
        return values.reshape(())
    if block:
        return values.repeat_interleave(block, axis).narrow(axis, 0, length)
    return values.reshape([-1 if i == axis % rank else 1 for i in range(rank)])


def _quantize(site: Site) -> Kernel:
    axis = site.operation.int_attribute("axis", 1)
    block = site.operation.int_attribute("block_size")
    number = site.operation.int_attribute("output_dtype")
    declared = site.output_type()

    def run(x: Tensor, scale: Tensor, zero_point: Tensor | None = None) -> Tensor:
        if zero_point is not None:
            to = zero_point.dtype
        else:
            to = onnx_type(number, site.operation.where()) if number else torch.uint8
        limits = declared if declared is not None and declared.is_integer else _IR_TYPES[to]
        length = x.shape[axis] if scale.numel() > 1 else 1
        q = torch.round(x / _spread(scale, x.dim(), axis, block, length).to(x.dtype))
        q = q.to(torch.float64)
        if zero_point is not None:
            q = q + _spread(zero_point.to(torch.float64), x.dim(), axis, block, length)
        return torch.clamp(q, limits.minimum, limits.maximum).to(torch.int64).to(to)

    return run


def _dequantize(site: Site) -> Kernel:
    axis = site.operation.int_attribute("axis", 1)
    block = site.operation.int_attribute("block_size")

    def run(x: Tensor, scale: Tensor, zero_point: Tensor | None = None) -> Tensor:
        length = x.shape[axis] if scale.numel() > 1 else 1
        if x.is_floating_point():  # eight bits; their zero point is zero
            return x.to(scale.dtype) * _spread(scale, x.dim(), axis, block, length)
        steps = x.to(torch.int64)
        if zero_point is not None:
            zero = zero_point.to(torch.int64)
            steps = steps - _spread(zero, x.dim(), axis, block, length)
        return steps.to(scale.dtype) * _spread(scale, x.dim(), axis, block, length)

    return run


TABLE: dict[str, Builder] = {"DequantizeLinear": _dequantize, "QuantizeLinear": _quantize}
