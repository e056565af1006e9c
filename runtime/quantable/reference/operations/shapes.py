"""Operations of ONNX on shapes, and those that make tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from quantable.ir import ContentRef
from quantable.reference.site import Builder, Kernel, Site, integers
from quantable.reference.tensors import onnx_type


def _shape(site: Site) -> Kernel:
    start = site.operation.int_attribute("start")
    end = site.operation.attributes.get("end")
    stop = end if isinstance(end, int) else None
    return lambda x: torch.tensor(list(x.shape)[start:stop], dtype=torch.int64)


def _constant_of_shape(site: Site) -> Kernel:
    held = site.operation.attributes.get("value", 0.0)
    value = site.tensor_attribute("value") if isinstance(held, ContentRef) else torch.tensor(held)
    assert value is not None
    element = value.reshape(-1)[0]

    def run(shape: Tensor) -> Tensor:
        return element.expand(integers(shape)).contiguous()

    return run


def _constant(site: Site) -> Kernel:
    attributes = site.operation.attributes
    value = site.tensor_attribute("value")
    for name, dtype in (("value_float", torch.float32), ("value_floats", torch.float32),
                        ("value_int", torch.int64), ("value_ints", torch.int64)):  # fmt: skip
        if name in attributes:
            value = torch.tensor(attributes[name], dtype=dtype)
    if value is None:
        raise site.refuse("a constant without a dense number or tensor is not supported")
    made = value
    return lambda: made


def _range(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    ends = start.item(), limit.item(), delta.item()
    if (ends[1] - ends[0]) * ends[2] <= 0:  # torch refuses a step away from the limit
        return torch.empty(0, dtype=start.dtype)
    return torch.arange(*ends, dtype=start.dtype)


def _one_hot(site: Site) -> Kernel:
    axis = site.operation.int_attribute("axis", -1)

    def run(indices: Tensor, depth: Tensor, values: Tensor) -> Tensor:
        count = int(depth.item())
        wrapped = indices.to(torch.int64)
        wrapped = torch.where(wrapped < 0, wrapped + count, wrapped)
        position = axis % (indices.dim() + 1)
        ladder = torch.arange(count).view([-1, *[1] * (indices.dim() - position)])
        return torch.where(wrapped.unsqueeze(position) == ladder, values[1], values[0])

    return run


def _trilu(site: Site) -> Kernel:
    part = torch.triu if site.operation.int_attribute("upper", 1) else torch.tril
    return lambda x, k=None: part(x, 0 if k is None else int(k.item()))


def _eye_like(site: Site) -> Kernel:
    offset, number = site.operation.int_attribute("k"), site.operation.int_attribute("dtype")
    to = onnx_type(number, site.operation.where()) if number else None

    def run(x: Tensor) -> Tensor:
        rows, columns = x.shape
        ladder = torch.arange(columns).view(1, -1) - torch.arange(rows).view(-1, 1)
        return (ladder == offset).to(to or x.dtype)

    return run


TABLE: dict[str, Builder] = {
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "EyeLike": _eye_like,
    "OneHot": _one_hot,
    "Range": lambda _: _range,
    "Shape": _shape,
    "Size": lambda _: lambda x: torch.tensor(x.numel(), dtype=torch.int64),
    "Trilu": _trilu,
}
