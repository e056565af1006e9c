"""Operations of ONNX on sequences (lists of tensors) and on what may be absent (None)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from quantable.reference.site import Builder, Kernel, Site, fixed, integers
from quantable.reference.tensors import signed_view

Item = Tensor | list[Tensor] | None


def _at(items: Sequence[Tensor], position: Tensor) -> Tensor:
    return items[int(position.item())]


def _inserted(
    items: Sequence[Tensor], tensor: Tensor, position: Tensor | None = None
) -> list[Tensor]:
    place = len(items) if position is None else int(position.item())
    if not -len(items) <= place <= len(items):
        raise IndexError(f"position {place} of a sequence of {len(items)}")
    place = place + len(items) if place < 0 else place
    return [*items[:place], tensor, *items[place:]]


def _erased(items: Sequence[Tensor], position: Tensor | None = None) -> list[Tensor]:
    place = -1 if position is None else int(position.item())
    kept = list(items)
    del kept[place]
    return kept


def _concatenated(site: Site) -> Kernel:
    axis, is_new = site.operation.int_attribute("axis"), site.operation.int_attribute("new_axis")
    function: Callable[..., Tensor] = torch.stack if is_new else torch.cat

    def run(items: Sequence[Tensor]) -> Tensor:
        return function([signed_view(item) for item in items], axis).view(items[0].dtype)

    return run


def _split(site: Site) -> Kernel:
    axis, keeps = site.operation.int_attribute("axis"), site.operation.int_attribute("keepdims", 1)

    def run(x: Tensor, sizes: Tensor | None = None) -> list[Tensor]:
        if sizes is None:
            parts = torch.split(x, 1, axis)
            return list(parts) if keeps else [part.squeeze(axis) for part in parts]
        if not sizes.dim():
            return list(torch.split(x, int(sizes.item()), axis))
        return list(torch.split(x, list(integers(sizes)), axis))

    return run


def _map(site: Site) -> Kernel:
    body, captures = site.regions["body"], site.operation.captures

    def run(first: list[Tensor], *rest: Item) -> tuple[list[Tensor], ...]:
        own = rest[: len(rest) - captures]
        count = len(site.operation.outputs)
        found: list[list[Tensor]] = [[] for _ in range(count)]
        for index, item in enumerate(first):
            others = [other[index] if isinstance(other, list) else other for other in own]
            results = body(item, *others, *rest[len(rest) - captures :])
            for line, result in zip(found, results, strict=False):
                line.append(result)
        return tuple(found)

    return run


def _element(item: Item) -> Item:
    if item is None:
        raise ValueError("the optional value is absent")
    return item


def _has_element(item: Item = None) -> Tensor:
    return torch.tensor(item is not None)


TABLE: dict[str, Builder] = {
    "ConcatFromSequence": _concatenated,
    "Optional": fixed(lambda item=None: item),
    "OptionalGetElement": fixed(_element),
    "OptionalHasElement": fixed(_has_element),
    "SequenceAt": fixed(_at),
    "SequenceConstruct": fixed(lambda *items: list(items)),
    "SequenceEmpty": fixed(list),
    "SequenceErase": fixed(_erased),
    "SequenceInsert": fixed(_inserted),
    "SequenceLength": fixed(lambda items: torch.tensor(len(items), dtype=torch.int64)),
    "SequenceMap": _map,
    "SplitToSequence": _split,
}
