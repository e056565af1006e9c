"""Matrix products of ONNX, and `quantable.Linear`."""

from __future__ import annotations

import torch
from torch import Tensor

from quantable.reference.operations.products import plain_product, prepared_product
from quantable.reference.site import Builder, Kernel, Site, fixed


def _gemm(site: Site) -> Kernel:
    op = site.operation
    alpha, beta = op.float_attribute("alpha", 1.0), op.float_attribute("beta", 1.0)
    transpose_a, transpose_b = op.int_attribute("transA"), op.int_attribute("transB")

    def run(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        a = a.t() if transpose_a else a
        b = b.t() if transpose_b else b
        if c is None:
            product = torch.mm(a, b)
            return product if alpha == 1.0 else product * alpha
        if not a.is_floating_point():
            return torch.mm(a, b) * int(alpha) + c * int(beta)
        return torch.addmm(c, a, b, beta=beta, alpha=alpha)

    return run


def _linear(site: Site) -> Kernel:
    held = site.constants.get(1)
    if held is None:
        return plain_product
    product = prepared_product(held)

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        # A hook may have put another weight in its place.
        return product(x, bias) if weight is held else plain_product(x, weight, bias)

    return run


def _einsum(site: Site) -> Kernel:
    equation = site.operation.string_attribute("equation")
    return lambda *inputs: torch.einsum(equation, *inputs)


TABLE: dict[str, Builder] = {
    "Det": fixed(torch.linalg.det),
    "Einsum": _einsum,
    "Gemm": _gemm,
    "MatMul": fixed(torch.matmul),
    "quantable.Linear": _linear,
}
