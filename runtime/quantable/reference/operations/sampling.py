"""GridSample and AffineGrid of ONNX, for any number of spatial axes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from quantable.reference.site import Builder, Kernel, Site, integers

_MODES = {"bilinear": "linear", "bicubic": "cubic", "linear": "linear", "cubic": "cubic",
          "nearest": "nearest"}  # fmt: skip
"""Names of before opset 20, and of since then."""
_CUBIC_A = -0.75


def _positions(grid: Tensor, length: int, is_aligned: bool) -> Tensor:
    """Return positions in the input of coordinates in [-1, 1]."""
    if is_aligned:
        return (grid + 1) * (length - 1) / 2
    return ((grid + 1) * length - 1) / 2


def _reflected(position: Tensor, length: int, is_aligned: bool) -> Tensor:
    low, high = (0.0, length - 1.0) if is_aligned else (-0.5, length - 0.5)
    span = high - low
    if span <= 0:
        return torch.zeros_like(position)
    folded = torch.remainder(position - low, 2 * span)
    return torch.where(folded > span, 2 * span - folded, folded) + low


def _axis_taps(position: Tensor, mode: str) -> list[tuple[Tensor, Tensor]]:
    """Return (index, weight) of every element that one axis reads."""
    if mode == "nearest":
        return [(torch.round(position), torch.ones_like(position))]
    base = torch.floor(position)
    t = position - base
    if mode == "linear":
        return [(base, 1 - t), (base + 1, t)]
    a = _CUBIC_A

    def near(d: Tensor) -> Tensor:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: Tensor) -> Tensor:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return [(base - 1, far(t + 1)), (base, near(t)), (base + 1, near(1 - t)),
            (base + 2, far(2 - t))]  # fmt: skip


def _grid_sample(site: Site) -> Kernel:
    op = site.operation
    mode = _MODES.get(op.string_attribute("mode", "linear"), "")
    padding = op.string_attribute("padding_mode", "zeros")
    is_aligned = bool(op.int_attribute("align_corners"))
    if not mode or padding not in ("zeros", "border", "reflection"):
        raise site.refuse(f"mode or padding_mode: found {op.attributes}")

    def bounded(index: Tensor, length: int) -> Tensor:
        if padding == "reflection":
            index = _reflected(index, length, is_aligned)
        return index.clamp(0, length - 1)

    def run(x: Tensor, grid: Tensor) -> Tensor:
        sizes = x.shape[2:]
        rank = len(sizes)
        taps = []
        for axis, length in enumerate(sizes):
            # The last coordinate belongs to the first axis.
            position = _positions(grid[..., rank - 1 - axis], length, is_aligned)
            if mode != "cubic" and padding != "zeros":
                position = bounded(position, length)
            taps.append(_axis_taps(position, mode))
        flat = x.reshape(*x.shape[:2], -1)
        total = torch.zeros(*x.shape[:2], *grid.shape[1:-1], dtype=x.dtype)
        for choice in itertools.product(*taps):
            place, weight, inside = _place(choice, sizes, bounded)
            index = place.reshape(place.shape[0], 1, -1).expand(-1, x.shape[1], -1)
            taken = flat.gather(2, index).reshape(total.shape)
            factor = weight * inside if padding == "zeros" else weight
            total = total + taken * factor.unsqueeze(1).to(x.dtype)
        return total

    return run


def _place(
    choice: Sequence[tuple[Tensor, Tensor]],
    sizes: Sequence[int],
    bounded: Callable[[Tensor, int], Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """Return flat index, weight, and whether the element is inside, of one tap an axis."""
    first = choice[0][0]
    place = torch.zeros_like(first, dtype=torch.int64)
    weight, inside = torch.ones_like(first), torch.ones_like(first)
    for (index, share), length in zip(choice, sizes, strict=True):
        inside = inside * ((index >= 0) & (index <= length - 1)).to(inside.dtype)
        place = place * length + bounded(index, length).round().to(torch.int64)
        weight = weight * share
    return place, weight, inside


def _affine_grid(site: Site) -> Kernel:
    is_aligned = bool(site.operation.int_attribute("align_corners"))

    def run(theta: Tensor, size: Tensor) -> Tensor:
        lengths = integers(size)[2:]
        lines = []
        for length in lengths:
            line = torch.arange(length, dtype=theta.dtype)
            lines.append(
                2 * line / max(length - 1, 1) - 1 if is_aligned else (2 * line + 1) / length - 1
            )
        mesh = list(torch.meshgrid(*lines, indexing="ij"))
        points = torch.stack([*reversed(mesh), torch.ones_like(mesh[0])], -1)
        moved = points.reshape(1, -1, points.shape[-1]) @ theta.transpose(1, 2)
        return moved.reshape(theta.shape[0], *lengths, len(lengths))

    return run


TABLE: dict[str, Builder] = {"AffineGrid": _affine_grid, "GridSample": _grid_sample}
