"""Products with a constant matrix of float32, by oneDNN where they are large.

torch multiplies matrices of float32 with the BLAS that it was built with. Some of these take the
newest instructions on processors of one maker only, where oneDNN takes what the processor says that
it has; and oneDNN is as fast or faster where both take the same. It multiplies by the sums' own
definition, in float32, so sums of integers stay exact; what it does depends on shapes only, not on
where in memory the operands lie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from quantable.reference.operations.convolution import HAS_ONEDNN
from quantable.reference.threads import one_thread

_POINTWISE = torch.ops.mkldnn._linear_pointwise.default if HAS_ONEDNN else None
LARGE = 1 << 21
"""How many multiplications a product has at least that oneDNN computes. A call of it takes 10
microseconds before it computes, one of BLAS takes 1."""

Product = Callable[[Tensor, Tensor | None], Tensor]
"""Takes x [.., rows, K] or [K], and a bias that is added or None; returns [.., rows, N] or [N]."""


@dataclass(frozen=True, slots=True, eq=False)
class PackedProduct:
    """A product with a constant matrix.

    Attributes:
        weight: [K, N], float32.
        packed: The same, as oneDNN blocks it for the processor's vectors; for any number of rows.
    """

    weight: Tensor
    packed: Tensor

    def __call__(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return x @ weight + bias.

        Raises:
            RuntimeError: Shapes or types do not fit each other.
        """
        inner, columns = self.weight.shape
        fits = x.dim() > 1 and x.shape[-1] == inner and x.dtype is torch.float32
        if not fits or x.numel() * columns < LARGE:
            return plain_product(x, self.weight, bias)
        is_row = bias is not None and bias.shape == (columns,) and bias.dtype is torch.float32
        assert _POINTWISE is not None
        row = bias if is_row else None
        result: Tensor = _POINTWISE(x, self.packed, row, "none", (), "")
        return result if is_row or bias is None else result + bias


def plain_product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x @ weight + bias by torch's BLAS, for matrices of any type."""
    if bias is not None and x.dim() == 2:
        return torch.addmm(bias, x, weight)
    product = torch.matmul(x, weight)
    if bias is None:
        return product
    fits = product.is_floating_point() and bias.shape == product.shape[-1:]
    return product.add_(bias) if fits else product + bias


def prepared_product(weight: Tensor) -> Product:
    """Return the product with a constant matrix, a `PackedProduct` where it can be one.

    Args:
        weight: [K, N], of any type.
    """
    is_packable = HAS_ONEDNN and weight.dtype is torch.float32 and weight.dim() == 2
    if not is_packable or not weight.numel():
        return lambda x, bias: plain_product(x, weight, bias)
    with one_thread():
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.t().contiguous(), None)
    return PackedProduct(weight, packed)
