"""Operations of ONNX beside convolutions: deformed ones, causal ones, and columns to images."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor
from torch.nn import functional

from quantable.reference.site import Builder, Kernel, Site, integers
from quantable.reference.windows import Window


def _interpolated(x: Tensor, positions: Tensor) -> Tensor:
    """Sample linearly, zero outside.

    Args:
        x: [G, C, *size].
        positions: [G, points, rank] in elements.

    Returns:
        [G, C, points].
    """
    size = x.shape[2:]
    flat = x.reshape(*x.shape[:2], -1)
    base = torch.floor(positions)
    total = x.new_zeros(*x.shape[:2], positions.shape[1])
    for corner in itertools.product((0, 1), repeat=len(size)):
        place = base + torch.tensor(corner, dtype=base.dtype)
        weight = (1 - (positions - place).abs()).prod(-1)
        index = torch.zeros(positions.shape[:2], dtype=torch.int64)
        inside = torch.ones_like(weight, dtype=torch.bool)
        for axis, length in enumerate(size):
            step = place[..., axis].to(torch.int64)
            inside &= (step >= 0) & (step < length)
            index = index * length + step.clamp(0, length - 1)
        taken = flat.gather(2, index.unsqueeze(1).expand(-1, x.shape[1], -1))
        total = total + taken * (weight * inside).unsqueeze(1)
    return total


def _taps(window: Window, size: list[int], rank: int) -> tuple[Tensor, list[int]]:
    """Return where every tap of every window lies without offsets [kernel, *out, rank], and out."""
    begin, _, out = window.resolve(size)
    lines = []
    for axis in range(rank):
        first = torch.arange(out[axis]) * window.strides[axis] - begin[axis]
        taps = torch.arange(window.kernel[axis]) * window.dilations[axis]
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = window.kernel[axis], out[axis]
        lines.append((taps.view(-1, 1) + first.view(1, -1)).reshape(shape))
    whole = (*window.kernel, *out)
    mesh = torch.stack([line.expand(whole) for line in lines], -1)
    return mesh.reshape(math.prod(window.kernel), *out, rank), out


def _deform_conv(site: Site) -> Kernel:
    op = site.operation
    group, groups = op.int_attribute("group", 1), op.int_attribute("offset_group", 1)

    def run(
        x: Tensor,
        weight: Tensor,
        offset: Tensor,
        bias: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        n, channels, rank = x.shape[0], x.shape[1], x.dim() - 2
        window = Window.of(site, weight.shape[2:])
        places, out = _taps(window, list(x.shape[2:]), rank)
        kernel = places.shape[0]
        moves = offset.reshape(n * groups, kernel, rank, *out).movedim(2, -1)
        positions = (places + moves).reshape(n * groups, -1, rank).to(x.dtype)
        taken = _interpolated(x.reshape(n * groups, channels // groups, *x.shape[2:]), positions)
        columns = taken.reshape(n, groups, channels // groups, kernel, -1)
        if mask is not None:
            columns = columns * mask.reshape(n, groups, 1, kernel, -1)
        columns = columns.reshape(n, group, channels // group * kernel, -1)
        matrix = weight.reshape(group, weight.shape[0] // group, -1)
        y = torch.matmul(matrix, columns).reshape(n, weight.shape[0], *out)
        return y if bias is None else y + bias.view(1, -1, *[1] * rank)

    return run


def _col_to_im(site: Site) -> Kernel:
    def run(x: Tensor, image: Tensor, block: Tensor) -> Tensor:
        size, kernel = list(integers(image)), integers(block)
        window = Window.of(site, kernel)
        places, _ = _taps(window, size, len(size))
        flat = places.reshape(-1, len(size))
        inside = ((flat >= 0) & (flat < torch.tensor(size))).all(-1)
        index = torch.zeros(len(flat), dtype=torch.int64)
        for axis, length in enumerate(size):
            index = index * length + flat[:, axis].clamp(0, length - 1)
        values = x.reshape(x.shape[0], x.shape[1] // math.prod(kernel), -1) * inside.to(x.dtype)
        y = values.new_zeros(*values.shape[:2], math.prod(size))
        y.index_add_(2, index, values)
        return y.reshape(*values.shape[:2], *size)

    return run


def _causal_conv(site: Site) -> Kernel:
    activation = site.operation.string_attribute("activation", "none")
    if activation not in ("none", "silu", "swish"):
        raise site.refuse(f"attribute 'activation': found {activation}")

    def run(
        x: Tensor, weight: Tensor, bias: Tensor | None = None, past: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        before = weight.shape[-1] - 1
        if past is None:
            past = x.new_zeros(x.shape[0], x.shape[1], before)
        line = torch.cat([past, x], 2)
        y = functional.conv1d(line, weight, bias, groups=x.shape[1])
        y = y if activation == "none" else functional.silu(y)
        return y, line[:, :, line.shape[2] - before :]

    return run


TABLE: dict[str, Builder] = {
    "CausalConvWithState": _causal_conv,
    "Col2Im": _col_to_im,
    "DeformConv": _deform_conv,
}
