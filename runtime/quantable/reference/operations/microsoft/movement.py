"""Operations of com.microsoft that move, choose and count elements."""

from __future__ import annotations

import torch
from torch import Tensor

from quantable.reference.operations import movement, sampling, shapes
from quantable.reference.site import Builder, Kernel, Site, fixed


def _expand_dims(x: Tensor, axis: Tensor) -> Tensor:
    return x.unsqueeze(int(axis))


def _unique(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return values in the order of their first place, which of them each element is, counts."""
    values, inverse, counts = torch.unique(x, sorted=True, return_inverse=True, return_counts=True)
    first = torch.full((values.numel(),), x.numel(), dtype=torch.int64)
    first = first.scatter_reduce(0, inverse, torch.arange(x.numel()), "amin")
    order = first.argsort()
    rank = torch.empty_like(order)
    rank[order] = torch.arange(order.numel())
    return values[order], rank[inverse], counts[order]


def _range(site: Site) -> Kernel:
    standard = shapes.TABLE["Range"](site)

    def run(start: Tensor, limit: Tensor, delta: Tensor | None = None) -> Tensor:
        step = torch.ones((), dtype=start.dtype) if delta is None else delta.reshape(())
        result: Tensor = standard(start.reshape(()), limit.reshape(()), step)
        return result

    return run


def _crop_and_resize(site: Site) -> Kernel:
    op = site.operation
    mode, outside = (
        op.string_attribute("mode", "bilinear"),
        op.float_attribute("extrapolation_value"),
    )
    if mode not in ("bilinear", "nearest"):
        raise site.refuse(f"attribute 'mode': expected bilinear or nearest, found {mode:.40}")

    def run(x: Tensor, rois: Tensor, batches: Tensor, size: Tensor) -> Tensor:
        crops = []
        for (y1, x1, y2, x2), batch in zip(rois.unbind(0), batches.tolist(), strict=True):
            rows = _places(y1, y2, int(size[0]), x.shape[2])
            columns = _places(x1, x2, int(size[1]), x.shape[3])
            crops.append(_sampled(x[batch], rows, columns, mode == "nearest", outside))
        shape = (0, x.shape[1], int(size[0]), int(size[1]))
        return torch.stack(crops) if crops else x.new_zeros(shape)

    return run


def _places(begin: Tensor, end: Tensor, count: int, length: int) -> Tensor:
    """Return where the samples of one axis lie; corners of a region are centres of pixels."""
    if count == 1:
        return (0.5 * (begin + end) * (length - 1)).reshape(1)
    step = (end - begin) * (length - 1) / (count - 1)
    return begin * (length - 1) + torch.arange(count) * step


def _sampled(
    image: Tensor, rows: Tensor, columns: Tensor, is_nearest: bool, outside: float
) -> Tensor:
    height, width = image.shape[1:]
    if is_nearest:
        top, left = rows.round().long(), columns.round().long()
        found = image[:, top.clamp(0, height - 1)][:, :, left.clamp(0, width - 1)]
    else:
        top, left = rows.floor(), columns.floor()
        low, high = (torch.stack([t, t + 1]).long().clamp(0, n - 1)
                     for t, n in ((top, height), (left, width)))  # fmt: skip
        y, x = (rows - top).view(1, -1, 1), (columns - left).view(1, 1, -1)
        lines = image[:, low[0]] * (1 - y) + image[:, low[1]] * y
        found = lines[:, :, high[0]] * (1 - x) + lines[:, :, high[1]] * x
    is_inside = ((rows >= 0) & (rows <= height - 1)).view(-1, 1)
    is_inside = is_inside & ((columns >= 0) & (columns <= width - 1)).view(1, -1)
    return torch.where(is_inside, found, torch.tensor(outside, dtype=image.dtype))


TABLE: dict[str, Builder] = {
    "com.microsoft.CropAndResize": _crop_and_resize,
    "com.microsoft.ExpandDims": fixed(_expand_dims),
    "com.microsoft.GatherND": movement.TABLE["GatherND"],
    "com.microsoft.GridSample": sampling.TABLE["GridSample"],
    "com.microsoft.Pad": movement.TABLE["Pad"],
    "com.microsoft.Range": _range,
    "com.microsoft.Trilu": shapes.TABLE["Trilu"],
    "com.microsoft.Unique": fixed(_unique),
}
