"""Convolutions and products of com.microsoft that do more than those of ai.onnx."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from quantable.reference.operations import convolution, linear, pooling
from quantable.reference.operations.microsoft.activations import activation
from quantable.reference.site import Builder, Kernel, Site, fixed

_PARAMETERS = {"Clip": ("min", "max"), "HardSigmoid": ("alpha", "beta"), "LeakyRelu": ("alpha",)}
"""What the numbers of `activation_params` are, by activation."""


def _fused_convolution(site: Site) -> Kernel:
    op = site.operation
    kind = op.string_attribute("activation")
    given = op.attributes.get("activation_params", ())
    values = [float(v) for v in given] if isinstance(given, tuple) else []
    names = _PARAMETERS.get(kind, ())
    if len(values) != len(names):
        raise site.refuse(
            f"attribute 'activation_params': expected {len(names)} numbers for {kind or 'none'}, "
            f"found {len(values)}"
        )
    finish = activation(site, kind, dict(zip(names, values, strict=True)))
    convolve = convolution.TABLE["Conv"](site)

    def run(x: Tensor, w: Tensor, b: Tensor | None = None, z: Tensor | None = None) -> Tensor:
        y = convolve(x, w, b)
        result: Tensor = finish(y if z is None else y + z)
        return result

    return run


def _fused_gemm(site: Site) -> Kernel:
    op = site.operation
    prefix = "activation_"
    parameters = {
        name: op.float_attribute(prefix + name)
        for name in ("alpha", "beta", "gamma")
        if prefix + name in op.attributes
    }
    finish = activation(site, op.string_attribute("activation"), parameters)
    product = linear.TABLE["Gemm"](site)
    return lambda *operands: finish(product(*operands))


def _fused_matmul(site: Site) -> Kernel:
    op = site.operation
    alpha = op.float_attribute("alpha", 1.0)
    turn_a = _transposed(op.int_attribute("transA"), op.int_attribute("transBatchA"))
    turn_b = _transposed(op.int_attribute("transB"), op.int_attribute("transBatchB"))

    def run(a: Tensor, b: Tensor) -> Tensor:
        product = torch.matmul(turn_a(a), turn_b(b))
        return product if alpha == 1.0 else product * alpha

    return run


def _transposed(is_matrix: int, is_batch: int) -> Callable[[Tensor], Tensor]:
    """Return what turns an operand: the first axis goes behind the batch, then rows and columns."""

    def run(x: Tensor) -> Tensor:
        if is_batch:
            x = x.movedim(0, -2)
        return x.transpose(-1, -2) if is_matrix and x.dim() > 1 else x

    return run


def _distances(site: Site) -> Kernel:
    is_squared = site.operation.string_attribute("metric", "sqeuclidean") == "sqeuclidean"

    def run(a: Tensor, b: Tensor) -> Tensor:
        squares = ((a.unsqueeze(1) - b.unsqueeze(0)) ** 2).sum(-1)
        return squares if is_squared else squares.sqrt()

    return run


def _max_pool_channels_last(site: Site) -> Kernel:
    pool = pooling.TABLE["MaxPool"](site)
    return lambda x: pool(x.movedim(-1, 1).contiguous()).movedim(1, -1)


TABLE: dict[str, Builder] = {
    "com.microsoft.CDist": _distances,
    "com.microsoft.FusedConv": _fused_convolution,
    "com.microsoft.FusedGemm": _fused_gemm,
    "com.microsoft.FusedMatMul": _fused_matmul,
    "com.microsoft.Inverse": fixed(torch.linalg.inv),
    "com.microsoft.NhwcMaxPool": _max_pool_channels_last,
    "com.microsoft.TransposeMatMul": _fused_matmul,
}
