"""QuantizeLinear and DequantizeLinear of ONNX (per tensor, per axis, blocked)."""

from __future__ import annotations

import torch
from torch import Tensor

from quantable.ir import DType
from quantable.reference.conversions import converted, numbers_of
from quantable.reference.site import Builder, Kernel, Site
from quantable.reference.tensors import IR_TYPES, TORCH_TYPES


def _spread(values: Tensor, rank: int, axis: int, block: int, length: int) -> Tensor:
    """Make scales or zero points broadcast against a tensor of `rank` dimensions."""
    if values.numel() == 1:
        return values.reshape(())
    if block:
        return values.repeat_interleave(block, axis).narrow(axis, 0, length)
    return values.reshape([-1 if i == axis % rank else 1 for i in range(rank)])


def _target(site: Site, zero_point: Tensor | None) -> DType:
    """Return the type that a QuantizeLinear makes."""
    declared = site.output_type()
    if site.operation.int_attribute("output_dtype"):
        return site.number_type("output_dtype")
    if zero_point is None:
        return declared or DType.UINT8
    return site.input_type(2) or declared or IR_TYPES[zero_point.dtype]


def _quantize(site: Site) -> Kernel:
    axis = site.operation.int_attribute("axis", 1)
    block = site.operation.int_attribute("block_size")
    saturates = bool(site.operation.int_attribute("saturate", 1))
    number = site.operation.int_attribute("precision")
    precision = site.torch_type(site.number_type("precision")) if number else None
    scale_type, zero_type = site.input_type(1), site.input_type(2)

    def run(x: Tensor, scale: Tensor, zero_point: Tensor | None = None) -> Tensor:
        to = _target(site, zero_point)
        length = x.shape[axis] if scale.numel() > 1 else 1
        real = numbers_of(scale, scale_type)
        divisor = _spread(real, x.dim(), axis, block, length)
        ratio = x.to(precision or real.dtype) / divisor.to(precision or real.dtype)
        if to.is_float:
            return converted(ratio, None, to, saturates)
        q = torch.round(ratio).to(torch.float64)
        if zero_point is not None:
            zero = numbers_of(zero_point, zero_type).to(torch.float64)
            q = q + _spread(zero, x.dim(), axis, block, length)
        return torch.clamp(q, to.minimum, to.maximum).to(torch.int64).to(TORCH_TYPES[to])

    return run


def _dequantize(site: Site) -> Kernel:
    axis = site.operation.int_attribute("axis", 1)
    block = site.operation.int_attribute("block_size")
    number = site.operation.int_attribute("output_dtype")
    declared = site.torch_type(site.number_type("output_dtype")) if number else None
    source, scale_type = site.input_type(), site.input_type(1)

    def run(x: Tensor, scale: Tensor, zero_point: Tensor | None = None) -> Tensor:
        length = x.shape[axis] if scale.numel() > 1 else 1
        real = numbers_of(scale, scale_type)
        to = declared or real.dtype
        factor = _spread(real, x.dim(), axis, block, length)
        steps = numbers_of(x, source)
        if not steps.is_floating_point():
            steps = steps.to(torch.int64)
            if zero_point is not None:  # that of small floats is zero
                zero = zero_point.to(torch.int64)
                steps = steps - _spread(zero, x.dim(), axis, block, length)
        return (steps.to(real.dtype) * factor).to(to)

    return run


TABLE: dict[str, Builder] = {"DequantizeLinear": _dequantize, "QuantizeLinear": _quantize}
