"""Operations of ONNX that pick elements by what they are: non-zero, unique, the largest, boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from quantable.reference.site import Builder, Kernel, Site, fixed
from quantable.reference.tensors import to_tensor
from quantable.reference.unsigned import WIDE_UNSIGNED, by_numpy


def _non_zero(x: Tensor) -> Tensor:
    return torch.stack(torch.nonzero(x, as_tuple=True)) if x.dim() else torch.nonzero(x).t()


def _compress(site: Site) -> Kernel:
    axis = site.operation.attributes.get("axis")

    def run(x: Tensor, condition: Tensor) -> Tensor:
        kept = torch.nonzero(condition).reshape(-1)
        if not isinstance(axis, int):
            return x.reshape(-1).index_select(0, kept)
        return x.index_select(axis, kept)

    return run


def _unique(site: Site) -> Kernel:
    axis = site.operation.attributes.get("axis")
    is_sorted = bool(site.operation.int_attribute("sorted", 1))

    def run(x: Tensor) -> tuple[Tensor, ...]:
        place = axis % x.dim() if isinstance(axis, int) else None
        # float32 holds every bfloat16, which NumPy does not have.
        held = x.to(torch.float32) if x.dtype is torch.bfloat16 else x
        found: Sequence[Any] = np.unique(
            held.numpy(), return_index=True, return_inverse=True, return_counts=True, axis=place
        )
        values, first, inverse, counts = found
        inverse = inverse.reshape(-1)
        if not is_sorted:
            order = np.argsort(first, kind="stable")
            values = np.take(values, order, axis=place or 0)
            first, counts = first[order], counts[order]
            inverse = np.argsort(order, kind="stable")[inverse]
        numbers = (to_tensor(np.asarray(item, np.int64)) for item in (first, inverse, counts))
        return (to_tensor(np.ascontiguousarray(values)).to(x.dtype), *numbers)

    return run


def _top_k(site: Site) -> Kernel:
    axis = site.operation.int_attribute("axis", -1)
    largest = bool(site.operation.int_attribute("largest", 1))

    def run(x: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        # A stable sort: equal elements come in the order of their indices, as ONNX demands.
        if x.dtype in WIDE_UNSIGNED:
            order = np.argsort(x.numpy() if not largest else ~x.numpy(), axis, kind="stable")
            indices = torch.from_numpy(order).narrow(axis, 0, int(count.item()))
            return by_numpy(lambda a, i: np.take_along_axis(a, i, axis), x, indices), indices
        values, indices = torch.sort(x, dim=axis, descending=largest, stable=True)
        kept = int(count.item())
        return values.narrow(axis, 0, kept), indices.narrow(axis, 0, kept)

    return run


def _corners(boxes: Tensor, is_centred: bool) -> Tensor:
    """Return boxes as (low, low, high, high), in any order of the two axes."""
    if is_centred:
        centre, half = boxes[..., :2], boxes[..., 2:] / 2
        return torch.cat([centre - half, centre + half], -1)
    first, second = boxes[..., :2], boxes[..., 2:]
    return torch.cat([torch.minimum(first, second), torch.maximum(first, second)], -1)


def _overlap(box: Tensor, others: Tensor) -> Tensor:
    """Return the intersection over the union of one box [4] with others [N, 4]."""
    low, high = torch.maximum(box[:2], others[:, :2]), torch.minimum(box[2:], others[:, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    area = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(-1)
    union = area - shared
    return torch.where(union > 0, shared / union, torch.zeros_like(union))


def _picked(boxes: Tensor, scores: Tensor, most: int, overlap: float) -> list[int]:
    """Return boxes by falling score, without those that overlap an earlier one too much."""
    order = torch.sort(scores, descending=True, stable=True).indices.tolist()
    chosen: list[int] = []
    for index in order:
        if len(chosen) == most:
            break
        if not chosen or not bool((_overlap(boxes[index], boxes[chosen]) > overlap).any()):
            chosen.append(index)
    return chosen


def _non_max_suppression(site: Site) -> Kernel:
    is_centred = bool(site.operation.int_attribute("center_point_box"))

    def run(
        boxes: Tensor,
        scores: Tensor,
        most: Tensor | None = None,
        overlap: Tensor | None = None,
        least: Tensor | None = None,
    ) -> Tensor:
        limit = 0 if most is None else int(most.item())
        threshold = 0.0 if overlap is None else float(overlap.item())
        corners = _corners(boxes, is_centred)
        rows: list[tuple[int, int, int]] = []
        for sample in range(scores.shape[0]):
            for kind in range(scores.shape[1]):
                line = scores[sample, kind]
                kept = torch.arange(line.numel()) if least is None else torch.nonzero(
                    line > least.reshape(())).reshape(-1)  # fmt: skip
                found = _picked(corners[sample][kept], line[kept], limit, threshold)
                rows += [(sample, kind, int(kept[index])) for index in found]
        return torch.tensor(rows, dtype=torch.int64).reshape(-1, 3)

    return run


TABLE: dict[str, Builder] = {
    "Compress": _compress,
    "NonMaxSuppression": _non_max_suppression,
    "NonZero": fixed(_non_zero),
    "TopK": _top_k,
    "Unique": _unique,
}
