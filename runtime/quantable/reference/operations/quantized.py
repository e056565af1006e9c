"""Operations of ONNX on integers: products, and quantization on the fly."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from quantable.ir import DType
from quantable.reference.operations.convolution import CONVOLUTIONS
from quantable.reference.site import Builder, Kernel, Site, fixed
from quantable.reference.tensors import IR_TYPES
from quantable.reference.windows import Window


def centred(x: Tensor, zero_point: Tensor | None, axis: int | None) -> Tensor:
    """Return x minus its zero point in int64; a vector of them lies along an axis."""
    steps = x.to(torch.int64)
    if zero_point is None:
        return steps
    zero = zero_point.to(torch.int64)
    return steps - along(zero, x.dim(), axis)


def along(values: Tensor, rank: int, axis: int | None) -> Tensor:
    """Make scales or zero points broadcast: scalars, vectors along an axis, or full rank."""
    if values.numel() == 1:
        return values.reshape(())
    if values.dim() > 1 or axis is None:
        return values
    shape = [1] * rank
    shape[axis] = -1
    return values.reshape(shape)


def _requantized(total: Tensor, factor: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """Return sums times a factor over the output's scale, rounded half to even, saturated."""
    limits = IR_TYPES[zero_point.dtype]
    real = torch.round(total.to(torch.float64) * factor / scale.to(torch.float64))
    shifted = real + zero_point.to(torch.float64)
    return shifted.clamp(limits.minimum, limits.maximum).to(torch.int64).to(zero_point.dtype)


def _matmul_integer(_: Site) -> Kernel:
    def run(a: Tensor, b: Tensor, za: Tensor | None = None, zb: Tensor | None = None) -> Tensor:
        left = centred(a, za, -2 if a.dim() > 1 else None)
        return torch.matmul(left, centred(b, zb, -1)).to(torch.int32)

    return run


def _qlinear_matmul(_: Site) -> Kernel:
    def run(
        a: Tensor, sa: Tensor, za: Tensor, b: Tensor, sb: Tensor, zb: Tensor, sy: Tensor, zy: Tensor
    ) -> Tensor:
        total = torch.matmul(centred(a, za, -2), centred(b, zb, -1))
        factor = along(sa.to(torch.float64), total.dim(), -2) * along(
            sb.to(torch.float64), total.dim(), -1
        )
        return _requantized(total, factor, along(sy, total.dim(), -2), along(zy, total.dim(), -2))

    return run


def _sums(site: Site) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the convolution of centred integers, exact in float64."""
    group = site.operation.int_attribute("group", 1)

    def run(x: Tensor, weight: Tensor) -> Tensor:
        window = Window.of(site, weight.shape[2:])
        padded = window.padded(x.to(torch.float64))
        convolve = CONVOLUTIONS[x.dim() - 2]
        total = convolve(
            padded, weight.to(torch.float64), None, window.strides, 0, window.dilations, group
        )
        return torch.round(total).to(torch.int64)

    return run


def _conv_integer(site: Site) -> Kernel:
    sums = _sums(site)

    def run(x: Tensor, w: Tensor, zx: Tensor | None = None, zw: Tensor | None = None) -> Tensor:
        return sums(centred(x, zx, None), centred(w, zw, 0)).to(torch.int32)

    return run


def qlinear_convolution(site: Site) -> Kernel:
    """Build a QLinearConv of channels first."""
    sums = _sums(site)

    def run(
        x: Tensor, sx: Tensor, zx: Tensor, w: Tensor, sw: Tensor, zw: Tensor, sy: Tensor,
        zy: Tensor, bias: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        total = sums(centred(x, zx, None), centred(w, zw, 0))
        if bias is not None:
            total = total + along(bias.to(torch.int64), total.dim(), 1)
        factor = sx.to(torch.float64).reshape(()) * along(sw.to(torch.float64), total.dim(), 1)
        return _requantized(total, factor, sy.reshape(()), zy.reshape(()))

    return run


def dynamic_quantize(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return uint8 steps, the scale and the zero point that the range of a tensor gives."""
    low = torch.clamp(x.min(), max=0.0) if x.numel() else x.new_zeros(())
    high = torch.clamp(x.max(), min=0.0) if x.numel() else x.new_zeros(())
    scale = (high - low) / DType.UINT8.maximum
    if not float(scale):
        return torch.zeros_like(x, dtype=torch.uint8), scale, torch.tensor(0).to(torch.uint8)
    zero = torch.clamp(torch.round(-low / scale), 0, DType.UINT8.maximum)
    steps = torch.clamp(torch.round(x / scale) + zero, 0, DType.UINT8.maximum)
    return steps.to(torch.uint8), scale, zero.to(torch.uint8)


TABLE: dict[str, Builder] = {
    "ConvInteger": _conv_integer,
    "DynamicQuantizeLinear": fixed(dynamic_quantize),
    "MatMulInteger": _matmul_integer,
    "QLinearConv": qlinear_convolution,
    "QLinearMatMul": _qlinear_matmul,
}
