"""Pools over regions of interest of ONNX."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from quantable.reference.site import Builder, Kernel, Site


def _axis_weights(position: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return (lower index, upper index, lower weight, upper weight) of sampling positions.

    Positions more than one element outside have weights of zero.
    """
    inside = ((position >= -1) & (position <= length)).to(position.dtype)
    bounded = position.clamp(min=0)
    low = torch.floor(bounded).to(torch.int64).clamp(max=length - 1)
    high = (low + 1).clamp(max=length - 1)
    share = torch.where(low >= length - 1, torch.zeros_like(bounded), bounded - low)
    return low, high, (1 - share) * inside, share * inside


def _samples(start: float, size: float, bins: int, count: int, dtype: torch.dtype) -> Tensor:
    """Return sampling positions of every bin, [bins * count]."""
    step = size / bins
    line = torch.arange(bins, dtype=dtype).view(-1, 1) * step
    inner = (torch.arange(count, dtype=dtype) + 0.5) * (step / count)
    return (start + line + inner).reshape(-1)


def _roi_align(site: Site) -> Kernel:
    op = site.operation
    height, width = op.int_attribute("output_height", 1), op.int_attribute("output_width", 1)
    ratio, scale = op.int_attribute("sampling_ratio"), op.float_attribute("spatial_scale", 1.0)
    is_maximum = op.string_attribute("mode", "avg") == "max"
    default = "half_pixel" if site.opset >= 16 else "output_half_pixel"
    form = op.string_attribute("coordinate_transformation_mode", default)
    is_half = form == "half_pixel"

    def pooled(x: Tensor, corners: list[float]) -> Tensor:
        """Return one region [C, height, width] of x [C, H, W]."""
        shift = 0.5 if is_half else 0.0
        x1, y1, x2, y2 = (value * scale - shift for value in corners)
        tall, wide = y2 - y1, x2 - x1
        if not is_half:
            tall, wide = max(tall, 1.0), max(wide, 1.0)
        rows = ratio or max(math.ceil(tall / height), 1)
        columns = ratio or max(math.ceil(wide / width), 1)
        ys = _axis_weights(_samples(y1, tall, height, rows, x.dtype), x.shape[1])
        xs = _axis_weights(_samples(x1, wide, width, columns, x.dtype), x.shape[2])
        parts = [
            x[:, ys[i]][:, :, xs[j]] * (ys[2 + i].view(1, -1, 1) * xs[2 + j].view(1, 1, -1))
            for i in (0, 1)
            for j in (0, 1)
        ]
        blocks = torch.stack(parts).reshape(4, -1, height, rows, width, columns)
        if is_maximum:  # of the weighted corners, as the specification's reference has it
            return blocks.amax((0, 3, 5))
        return blocks.sum(0).mean((2, 4))

    def run(x: Tensor, rois: Tensor, batch: Tensor) -> Tensor:
        found = [
            pooled(x[int(index)], corners)
            for index, corners in zip(batch.tolist(), rois.tolist(), strict=True)
        ]
        return torch.stack(found) if found else x.new_zeros(0, x.shape[1], height, width)

    return run


def _max_roi_pool(site: Site) -> Kernel:
    height, width = site.operation.ints_attribute("pooled_shape")
    scale = site.operation.float_attribute("spatial_scale", 1.0)

    def edges(low: int, high: int, bins: int, length: int) -> list[tuple[int, int]]:
        step = max(high - low + 1, 1) / bins
        clip = range(length + 1)
        return [
            (
                min(max(math.floor(k * step) + low, 0), clip[-1]),
                min(max(math.ceil((k + 1) * step) + low, 0), clip[-1]),
            )
            for k in range(bins)
        ]

    def run(x: Tensor, rois: Tensor) -> Tensor:
        y = x.new_zeros(rois.shape[0], x.shape[1], height, width)
        for index, (batch, *corners) in enumerate(rois.tolist()):
            x1, y1, x2, y2 = (math.floor(value * scale + 0.5) for value in corners)
            for row, (top, bottom) in enumerate(edges(y1, y2, height, x.shape[2])):
                for column, (left, right) in enumerate(edges(x1, x2, width, x.shape[3])):
                    if bottom > top and right > left:
                        part = x[int(batch), :, top:bottom, left:right]
                        y[index, :, row, column] = part.amax((1, 2))
        return y

    return run


TABLE: dict[str, Builder] = {"MaxRoiPool": _max_roi_pool, "RoiAlign": _roi_align}
