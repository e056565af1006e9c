"""Operations of ONNX that write elements to places that indices name."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from quantable.reference.operations.movement import moving
from quantable.reference.site import Builder, Kernel, Site

_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
"""Names of ONNX, and of torch."""


def _reduction(site: Site) -> str:
    name = site.operation.string_attribute("reduction", "none")
    if name not in ("none", *_REDUCTIONS):
        raise site.refuse(f"attribute 'reduction': found {name}")
    return _REDUCTIONS.get(name, "")


def _wrapped(indices: Tensor, length: int) -> Tensor:
    wide = indices.to(torch.int64)
    return torch.where(wide < 0, wide + length, wide)


def _written(x: Tensor, axis: int, places: Tensor, updates: Tensor, reduction: str) -> Tensor:
    """Write along an axis; the last of several updates of a place wins where none are reduced."""
    if not places.numel():
        return x
    if not reduction:
        return x.scatter(axis, places, updates)
    if x.dtype is torch.bool:  # the sum of truths is their maximum, their product the minimum
        name = {"sum": "amax", "prod": "amin"}.get(reduction, reduction)
        bits = x.to(torch.uint8).scatter_reduce(axis, places, updates.to(torch.uint8), name)
        return bits.to(torch.bool)
    return x.scatter_reduce(axis, places, updates, reduction)


def _scatter_elements(site: Site) -> Kernel:
    axis, reduction = site.operation.int_attribute("axis"), _reduction(site)

    def run(x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
        return _written(x, axis, _wrapped(indices, x.shape[axis]), updates, reduction)

    return run


def _scatter_nd(site: Site) -> Kernel:
    reduction = _reduction(site)

    def run(x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
        depth = indices.shape[-1]
        rows = 1
        places = torch.zeros(indices.shape[:-1], dtype=torch.int64)
        for axis in range(depth):
            places = places * x.shape[axis] + _wrapped(indices[..., axis], x.shape[axis])
            rows *= x.shape[axis]
        width = math.prod(x.shape[depth:])
        flat, new = x.reshape(rows, width), updates.reshape(places.numel(), width)
        spread = places.reshape(-1, 1).expand_as(new)
        return _written(flat, 0, spread, new, reduction).reshape(x.shape)

    return run


def _tensor_scatter(site: Site) -> Kernel:
    axis = site.operation.int_attribute("axis", -2)
    is_circular = site.operation.string_attribute("mode", "linear") == "circular"

    def run(past: Tensor, update: Tensor, starts: Tensor | None = None) -> Tensor:
        place = axis % past.dim()
        batch = past.shape[0]
        first = torch.zeros(batch, dtype=torch.int64) if starts is None else starts.to(torch.int64)
        rows = first.view(-1, 1) + torch.arange(update.shape[place])
        rows = rows % past.shape[place] if is_circular else rows
        shape = [1] * past.dim()
        shape[0], shape[place] = batch, update.shape[place]
        return past.scatter(place, rows.reshape(shape).expand_as(update), update)

    return run


_KINDS: dict[str, Builder] = {
    "Scatter": _scatter_elements,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "TensorScatter": _tensor_scatter,
}
TABLE: dict[str, Builder] = {kind: moving(build) for kind, build in _KINDS.items()}
