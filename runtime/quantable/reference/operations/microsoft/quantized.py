"""QLinear operations of com.microsoft: integers in, integers out, with the scales as operands.

A result is computed on the real numbers that the operands stand for, divided by the output's scale,
rounded half to even and saturated. ONNX Runtime computes in float32: where a sum is close to half
way between two steps, it may take the other one. What depends on one element alone is computed in
float32 here too, and is the same.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from quantable.reference.operations.pooling import average_pool
from quantable.reference.operations.quantized import along, qlinear_convolution
from quantable.reference.site import Builder, Kernel, Site
from quantable.reference.tensors import IR_TYPES


def _real(x: Tensor, scale: Tensor, zero: Tensor | None, wide: torch.dtype) -> Tensor:
    """Return the numbers that steps stand for."""
    steps = x.to(torch.int64)
    if zero is not None:
        steps = steps - zero.reshape(()).to(torch.int64)
    return steps.to(wide) * scale.reshape(()).to(wide)


def _steps(y: Tensor, scale: Tensor, zero: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Return real numbers as steps of a type."""
    limits = IR_TYPES[dtype]
    steps = torch.round(y / scale.reshape(()).to(y.dtype)).to(torch.float64)
    if zero is not None:
        steps = steps + zero.reshape(()).to(torch.float64)
    return steps.clamp(limits.minimum, limits.maximum).to(torch.int64).to(dtype)


def _unary(function_of: Callable[[Site], Callable[[Tensor], Tensor]]) -> Builder:
    """Return the builder of an operation that looks at every element alone."""

    def build(site: Site) -> Kernel:
        function = function_of(site)

        def run(
            x: Tensor, sx: Tensor, zx: Tensor | None, sy: Tensor, zy: Tensor | None = None
        ) -> Tensor:
            y = function(_real(x, sx, zx, torch.float32))
            return _steps(y, sy, zy, x.dtype)

        return run

    return build


def _leaky_relu(site: Site) -> Callable[[Tensor], Tensor]:
    slope = site.operation.float_attribute("alpha", 0.01)
    return lambda x: torch.where(x >= 0, x, x * slope)


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Builder:
    def run(
        a: Tensor, sa: Tensor, za: Tensor | None, b: Tensor, sb: Tensor, zb: Tensor | None,
        sy: Tensor, zy: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        y = function(_real(a, sa, za, torch.float64), _real(b, sb, zb, torch.float64))
        return _steps(y, sy, zy, a.dtype)

    return lambda _: run


def _where(_: Site) -> Kernel:
    def run(
        condition: Tensor, x: Tensor, sx: Tensor, zx: Tensor, y: Tensor, sy: Tensor, zy: Tensor,
        sz: Tensor, zz: Tensor,
    ) -> Tensor:  # fmt: skip
        yes, no = (
            _steps(_real(*operand, torch.float32), sz, zz, x.dtype)
            for operand in ((x, sx, zx), (y, sy, zy))
        )
        return torch.where(condition, yes, no)

    return run


def _concat(site: Site) -> Kernel:
    axis = site.operation.int_attribute("axis")

    def run(scale: Tensor, zero: Tensor, *operands: Tensor) -> Tensor:
        thirds = range(0, len(operands), 3)
        parts = [
            _steps(
                _real(operands[k], operands[k + 1], operands[k + 2], torch.float32),
                scale,
                zero,
                zero.dtype,
            )
            for k in thirds
        ]
        return torch.cat(parts, axis)

    return run


def _softmax(site: Site) -> Kernel:
    axis, opset = site.operation.int_attribute("axis", -1), site.operation.int_attribute("opset")

    def run(x: Tensor, sx: Tensor, zx: Tensor | None, sy: Tensor, zy: Tensor) -> Tensor:
        real = _real(x, sx, zx, torch.float64)
        if opset >= 13:
            y = torch.softmax(real, axis)
        else:  # before opset 13 everything from the axis on is one axis
            first = axis % x.dim() if x.dim() else 0
            y = torch.softmax(real.flatten(first), -1).reshape(x.shape)
        return _steps(y, sy, zy, x.dtype)

    return run


def _channels_first(site: Site, function: Kernel) -> Kernel:
    """Return a kernel on [N, C, spatial..] as one on [N, spatial.., C] where the attribute is."""
    if not site.operation.int_attribute("channels_last"):
        return function
    return lambda x, *rest: function(x.movedim(-1, 1), *rest).movedim(1, -1)


def _pool(pool: Callable[[Tensor], Tensor]) -> Kernel:
    def run(
        x: Tensor, sx: Tensor, zx: Tensor | None, sy: Tensor, zy: Tensor | None = None
    ) -> Tensor:
        return _steps(pool(_real(x, sx, zx, torch.float64)), sy, zy, x.dtype)

    return run


def _average_pool(site: Site) -> Kernel:
    return _channels_first(site, _pool(average_pool(site)))


def _global_average_pool(site: Site) -> Kernel:
    def pool(x: Tensor) -> Tensor:
        return x.mean(tuple(range(2, x.dim())), keepdim=True)

    return _channels_first(site, _pool(pool))


def _convolution(site: Site) -> Kernel:
    return _channels_first(site, qlinear_convolution(site))


def _gemm(site: Site) -> Kernel:
    op = site.operation
    alpha = op.float_attribute("alpha", 1.0)
    transpose_a, transpose_b = op.int_attribute("transA"), op.int_attribute("transB")

    def run(
        a: Tensor, sa: Tensor, za: Tensor, b: Tensor, sb: Tensor, zb: Tensor,
        c: Tensor | None = None, sy: Tensor | None = None, zy: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        left = a.to(torch.int64) - za.reshape(()).to(torch.int64)
        right = b.to(torch.int64)
        right = (right.t() if transpose_b else right) - along(zb.to(torch.int64), 2, -1)
        total = torch.mm(left.t() if transpose_a else left, right)
        total = total if c is None else total + c.to(torch.int64)
        factor = along(sb.to(torch.float64), 2, -1) * sa.reshape(()).to(torch.float64) * alpha
        real = total.to(torch.float64) * factor
        if sy is None:
            return real.to(torch.float32)
        return _steps(real, sy, zy, a.dtype if zy is None else zy.dtype)

    return run


TABLE: dict[str, Builder] = {
    f"com.microsoft.{kind}": builder
    for kind, builder in {
        "QGemm": _gemm,
        "QLinearAdd": _binary(torch.add),
        "QLinearAveragePool": _average_pool,
        "QLinearConcat": _concat,
        "QLinearConv": _convolution,
        "QLinearGlobalAveragePool": _global_average_pool,
        "QLinearLeakyRelu": _unary(_leaky_relu),
        "QLinearMul": _binary(torch.mul),
        "QLinearSigmoid": _unary(lambda _: torch.sigmoid),
        "QLinearSoftmax": _softmax,
        "QLinearWhere": _where,
    }.items()
}
