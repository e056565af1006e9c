"""What the operations compute, in torch; imported by the runtime alone."""

from __future__ import annotations

import torch
from torch import Tensor


def squareplus(x: Tensor, *, b: float) -> Tensor:
    """See `waveform_operations.squareplus`."""
    return (x + torch.sqrt(x * x + b)) / 2


def centered_difference(x: Tensor) -> Tensor:
    """See `waveform_operations.difference`."""
    return x[..., 2:] - x[..., :-2]


def snake(x: Tensor, alpha: Tensor, *, axis: int) -> Tensor:
    """See `waveform_operations.snake`."""
    alpha = _along(alpha, x, axis)
    return x + torch.sin(alpha * x) ** 2 / alpha


def snake_integers(x: Tensor, table: Tensor, *, axis: int) -> Tensor:
    """Look every integer up in the table of its channel; 16-bit ones lie between two knots."""
    steps = x.to(torch.int64) - torch.iinfo(x.dtype).min
    place = _along(torch.arange(len(table)), x, axis) * table.shape[1]
    flat = table.reshape(-1).to(torch.int64)
    if x.element_size() == 1:
        return flat[place + steps]
    low = place + (steps >> 7)
    return flat[low] + (((flat[low + 1] - flat[low]) * (steps & 127) + 64) >> 7)


def _along(values: Tensor, x: Tensor, axis: int) -> Tensor:
    shape = [1] * x.dim()
    shape[axis] = -1
    return values.reshape(shape)
