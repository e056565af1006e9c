"""Resize of ONNX, nearest and linear, one axis after the other."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from quantable.reference.site import Builder, Kernel, Site, integers

Coordinates = Callable[[Tensor, float, int, int], Tensor]
"""(output positions, scale, input length, output length) -> positions in the input."""


def _half_pixel(position: Tensor, scale: float, _: int, __: int) -> Tensor:
    return (position + 0.5) / scale - 0.5


def _pytorch_half_pixel(position: Tensor, scale: float, _: int, out: int) -> Tensor:
    return (position + 0.5) / scale - 0.5 if out > 1 else torch.zeros_like(position)


def _align_corners(position: Tensor, _: float, length: int, out: int) -> Tensor:
    return position * (length - 1) / (out - 1) if out > 1 else torch.zeros_like(position)


def _half_pixel_symmetric(position: Tensor, scale: float, length: int, out: int) -> Tensor:
    centre = length / 2
    offset = centre * (1 - out / (scale * length))
    return offset + (position + 0.5) / scale - 0.5


_COORDINATES: dict[str, Coordinates] = {
    "align_corners": _align_corners,
    "asymmetric": lambda position, scale, _, __: position / scale,
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "pytorch_half_pixel": _pytorch_half_pixel,
}
_NEAREST: dict[str, Callable[[Tensor], Tensor]] = {
    "ceil": torch.ceil,
    "floor": torch.floor,
    "round_prefer_ceil": lambda x: torch.floor(x + 0.5),
    "round_prefer_floor": lambda x: torch.ceil(x - 0.5),
}


def _nearest(
    x: Tensor, axis: int, position: Tensor, rounding: Callable[[Tensor], Tensor]
) -> Tensor:
    index = rounding(position).clamp(0, x.shape[axis] - 1).to(torch.int64)
    return x.index_select(axis, index)


def _linear(x: Tensor, axis: int, position: Tensor) -> Tensor:
    last = x.shape[axis] - 1
    below = torch.floor(position)
    share = (position - below).to(x.dtype).view([-1] + [1] * (x.dim() - 1 - axis))
    left = x.index_select(axis, below.clamp(0, last).to(torch.int64))
    right = x.index_select(axis, (below + 1).clamp(0, last).to(torch.int64))
    return left * (1 - share) + right * share


def _check(site: Site) -> None:
    op = site.operation
    mode = op.string_attribute("mode", "nearest")
    form = op.string_attribute("coordinate_transformation_mode", "half_pixel")
    policy = op.string_attribute("keep_aspect_ratio_policy", "stretch")
    if mode not in ("nearest", "linear") or form not in _COORDINATES:
        raise site.refuse(f"mode {mode} with coordinates {form} is not supported")
    if op.int_attribute("antialias") or policy != "stretch":
        raise site.refuse("antialias and keep_aspect_ratio_policy are not supported")


def _resize(site: Site) -> Kernel:
    _check(site)
    op = site.operation
    is_linear = op.string_attribute("mode", "nearest") == "linear"
    coordinates = _COORDINATES[op.string_attribute("coordinate_transformation_mode", "half_pixel")]
    rounding = _NEAREST[op.string_attribute("nearest_mode", "round_prefer_floor")]
    move = _linear if is_linear else functools.partial(_nearest, rounding=rounding)

    def run(
        x: Tensor,
        _: Tensor | None = None,
        scales: Tensor | None = None,
        sizes: Tensor | None = None,
    ) -> Tensor:
        axes: Sequence[int] = op.ints_attribute("axes") or range(x.dim())
        given = None if scales is None or not scales.numel() else scales.tolist()
        wanted = None if sizes is None else integers(sizes)
        for index, axis in enumerate(axes):
            length, scale = x.shape[axis], 1.0 if given is None else given[index]
            out = int(length * scale)
            if wanted is not None:
                out, scale = wanted[index], wanted[index] / length
            if out == length and scale == 1.0:
                continue
            position = coordinates(torch.arange(out, dtype=torch.float64), scale, length, out)
            place = axis % x.dim()
            x = move(x, place, position)
        return x

    return run


TABLE: dict[str, Builder] = {"Resize": _resize}
