"""Normalizations of com.microsoft: of sums, and of embeddings."""

from __future__ import annotations

import torch
from torch import Tensor

from quantable.reference.site import Builder, Kernel, Site

_EPSILON = 1e-12


def _normalized(
    x: Tensor, gamma: Tensor, beta: Tensor | None, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the normalization over the last axis, the means and the inverse deviations."""
    wide = x.to(torch.float32) if x.dtype in (torch.float16, torch.bfloat16) else x
    mean = wide.mean(-1, keepdim=True)
    centred = wide - mean
    inverse = torch.rsqrt((centred * centred).mean(-1, keepdim=True) + epsilon)
    y = centred * inverse * gamma
    return (y if beta is None else y + beta).to(x.dtype), mean, inverse


def _scaled(x: Tensor, gamma: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Return the quotient by the root of the mean square over the last axis, and its inverse."""
    wide = x.to(torch.float32) if x.dtype in (torch.float16, torch.bfloat16) else x
    inverse = torch.rsqrt((wide * wide).mean(-1, keepdim=True) + epsilon)
    return (wide * inverse * gamma).to(x.dtype), inverse


def _skip_layer(site: Site) -> Kernel:
    epsilon = site.operation.float_attribute("epsilon", _EPSILON)

    def run(
        x: Tensor, skip: Tensor, gamma: Tensor, beta: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        total = x + skip if bias is None else x + skip + bias
        return (*_normalized(total, gamma, beta, epsilon), total)

    return run


def _skip_simplified(site: Site) -> Kernel:
    epsilon = site.operation.float_attribute("epsilon", _EPSILON)

    def run(
        x: Tensor, skip: Tensor, gamma: Tensor, bias: Tensor | None = None
    ) -> tuple[Tensor, None, Tensor, Tensor]:
        total = x + skip if bias is None else x + skip + bias
        y, inverse = _scaled(total, gamma, epsilon)
        return y, None, inverse, total

    return run


def _simplified(site: Site) -> Kernel:
    axis = site.operation.int_attribute("axis", -1)
    epsilon = site.operation.float_attribute("epsilon", 1e-5)

    def run(x: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor]:
        first = axis % x.dim()
        y, inverse = _scaled(x.flatten(first), gamma.reshape(-1), epsilon)
        return y.reshape(x.shape), inverse.reshape(*x.shape[:first], *[1] * (x.dim() - first))

    return run


def _embed(site: Site) -> Kernel:
    epsilon = site.operation.float_attribute("epsilon", _EPSILON)

    def run(
        ids: Tensor, segments: Tensor | None, words: Tensor, places: Tensor,
        segment_rows: Tensor | None, gamma: Tensor, beta: Tensor, mask: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        if positions is None:
            positions = torch.arange(ids.shape[1]).unsqueeze(0)
        total = words[ids.to(torch.int64)] + places[positions.to(torch.int64)]
        if segments is not None and segment_rows is not None:
            total = total + segment_rows[segments.to(torch.int64)]
        lengths = torch.zeros(ids.shape[0], dtype=torch.int64) if mask is None else mask.sum(1)
        y = _normalized(total, gamma, beta, epsilon)[0]
        return y, lengths.to(torch.int32), total

    return run


TABLE: dict[str, Builder] = {
    "com.microsoft.EmbedLayerNormalization": _embed,
    "com.microsoft.SimplifiedLayerNormalization": _simplified,
    "com.microsoft.SkipLayerNormalization": _skip_layer,
    "com.microsoft.SkipSimplifiedLayerNormalization": _skip_simplified,
}
