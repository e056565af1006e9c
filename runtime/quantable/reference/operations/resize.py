"""Resize of ONNX, one axis after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
    "tf_half_pixel_for_nn": lambda position, scale, _, __: (position + 0.5) / scale,
}
_CROP = "tf_crop_and_resize"
_NEAREST: dict[str, Callable[[Tensor], Tensor]] = {
    "ceil": torch.ceil,
    "floor": torch.floor,
    "round_prefer_ceil": lambda x: torch.floor(x + 0.5),
    "round_prefer_floor": lambda x: torch.ceil(x - 0.5),
}


@dataclass(frozen=True, slots=True)
class _Settings:
    """Attributes of a Resize; see the ONNX specification for each."""

    mode: str
    form: str
    nearest: str
    policy: str
    axes: tuple[int, ...]
    antialias: bool
    exclude_outside: bool
    cubic_a: float
    extrapolation: float

    @staticmethod
    def of(site: Site) -> _Settings:
        op = site.operation
        found = _Settings(
            op.string_attribute("mode", "nearest"),
            op.string_attribute("coordinate_transformation_mode", "half_pixel"),
            op.string_attribute("nearest_mode", "round_prefer_floor"),
            op.string_attribute("keep_aspect_ratio_policy", "stretch"),
            op.ints_attribute("axes"), bool(op.int_attribute("antialias")),
            bool(op.int_attribute("exclude_outside")), op.float_attribute("cubic_coeff_a", -0.75),
            op.float_attribute("extrapolation_value"),
        )  # fmt: skip
        for name, value, known in (
            ("mode", found.mode, ("nearest", "linear", "cubic")),
            ("coordinate_transformation_mode", found.form, (*_COORDINATES, _CROP)),
            ("nearest_mode", found.nearest, tuple(_NEAREST)),
            ("keep_aspect_ratio_policy", found.policy, ("stretch", "not_larger", "not_smaller")),
        ):
            if value not in known:
                raise site.refuse(f"attribute '{name}': found {value}")
        return found


@dataclass(frozen=True, slots=True)
class _Axis:
    """How one axis changes: input and output length, scale, and the part of it that is taken."""

    axis: int
    length: int
    out: int
    scale: float
    start: float = 0.0
    end: float = 1.0


def _nearest(x: Tensor, axis: int, position: Tensor, name: str) -> Tensor:
    index = _NEAREST[name](position).clamp(0, x.shape[axis] - 1).to(torch.int64)
    return x.index_select(axis, index)


def _linear(x: Tensor, axis: int, position: Tensor) -> Tensor:
    last = x.shape[axis] - 1
    below = torch.floor(position)
    share = (position - below).to(x.dtype).view([-1] + [1] * (x.dim() - 1 - axis))
    left = x.index_select(axis, below.clamp(0, last).to(torch.int64))
    right = x.index_select(axis, (below + 1).clamp(0, last).to(torch.int64))
    return left * (1 - share) + right * share


def _triangle(distance: Tensor, _: float) -> Tensor:
    return (1 - distance.abs()).clamp(min=0)


def _cubic(distance: Tensor, a: float) -> Tensor:
    """Return the weights of Keys' kernel (IEEE Trans. ASSP 29 (6), 1981, equation 4)."""
    d = distance.abs()
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    zero = torch.zeros_like(d)
    return torch.where(d <= 1, near, torch.where(d < 2, far, zero))


def _filtered(x: Tensor, item: _Axis, position: Tensor, settings: _Settings) -> Tensor:
    """Weigh all elements under a kernel, which antialiasing widens where the axis shrinks."""
    shrink = min(item.scale, 1.0) if settings.antialias else 1.0
    kernel, reach = (_cubic, 2) if settings.mode == "cubic" else (_triangle, 1)
    wide = int(reach / shrink) + 1
    taps = torch.floor(position).view(-1, 1) + torch.arange(1 - wide, wide + 1)
    weights = kernel((taps - position.view(-1, 1)) * shrink, settings.cubic_a)
    if settings.exclude_outside:
        weights = weights * ((taps >= 0) & (taps < item.length))
    if settings.exclude_outside or settings.antialias:
        weights = weights / weights.sum(1, keepdim=True)
    index = taps.clamp(0, item.length - 1).to(torch.int64)
    matrix = torch.zeros(item.out, item.length, dtype=torch.float64)
    matrix.scatter_add_(1, index, weights)
    moved = x.movedim(item.axis, -1)
    return (moved.to(torch.float64) @ matrix.t()).movedim(-1, item.axis).to(x.dtype)


def _cropped(item: _Axis) -> Tensor:
    steps, last = torch.arange(item.out, dtype=torch.float64), item.length - 1
    if item.out > 1:
        return item.start * last + steps * (item.end - item.start) * last / (item.out - 1)
    return torch.full((1,), 0.5 * (item.start + item.end) * last, dtype=torch.float64)


def _moved(x: Tensor, item: _Axis, settings: _Settings) -> Tensor:
    """Resize one axis."""
    is_crop = settings.form == _CROP
    if item.out == item.length and item.scale == 1.0 and not is_crop:
        return x
    if is_crop:
        position = _cropped(item)
    else:
        steps = torch.arange(item.out, dtype=torch.float64)
        position = _COORDINATES[settings.form](steps, item.scale, item.length, item.out)
    if settings.mode == "nearest":
        y = _nearest(x, item.axis, position, settings.nearest)
    elif settings.mode == "linear" and not (settings.antialias or settings.exclude_outside):
        y = _linear(x, item.axis, position)
    else:
        y = _filtered(x, item, position, settings)
    if not is_crop:
        return y
    inside = ((position >= 0) & (position <= item.length - 1)).view(
        [-1] + [1] * (x.dim() - 1 - item.axis)
    )
    return torch.where(inside, y, torch.full_like(y, settings.extrapolation))


def _axes(
    settings: _Settings,
    x: Tensor,
    roi: Sequence[float] | None,
    scales: Sequence[float] | None,
    sizes: Sequence[int] | None,
) -> list[_Axis]:
    """Return how every axis that is named changes."""
    axes = [axis % x.dim() for axis in settings.axes or range(x.dim())]
    lengths = [x.shape[axis] for axis in axes]
    if sizes is not None and settings.policy != "stretch":
        choose = min if settings.policy == "not_larger" else max
        common = choose(size / length for size, length in zip(sizes, lengths, strict=True))
        sizes = [int(common * length + 0.5) for length in lengths]
        scales, outs = [common] * len(axes), list(sizes)
    elif sizes is not None:
        outs = list(sizes)
        scales = [out / length if length else 1.0 for out, length in zip(
            outs, lengths, strict=True)]  # fmt: skip
    else:
        assert scales is not None
        outs = [int(length * scale) for length, scale in zip(lengths, scales, strict=True)]
    parts = [(0.0, 1.0)] * len(axes)
    if roi and settings.form == _CROP:
        parts = list(zip(roi[: len(axes)], roi[len(axes) :], strict=True))
        if sizes is None:
            outs = [int(length * (end - start) * scale) for length, scale, (start, end) in zip(
                lengths, scales, parts, strict=True)]  # fmt: skip
    rows = zip(axes, lengths, outs, scales, parts, strict=True)
    return [_Axis(axis, length, out, scale, *part) for axis, length, out, scale, part in rows]


def _resize(site: Site) -> Kernel:
    settings = _Settings.of(site)

    def run(
        x: Tensor,
        roi: Tensor | None = None,
        scales: Tensor | None = None,
        sizes: Tensor | None = None,
    ) -> Tensor:
        given = None if scales is None or not scales.numel() else scales.tolist()
        wanted = None if sizes is None else integers(sizes)
        corners = None if roi is None else roi.tolist()
        for item in _axes(settings, x, corners, given, wanted):
            x = _moved(x, item, settings)
        return x

    return run


TABLE: dict[str, Builder] = {"Resize": _resize}
