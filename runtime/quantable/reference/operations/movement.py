"""Operations of ONNX that move elements: they act on floats and on integers alike."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from quantable.reference.site import Builder, Kernel, Site, integers
from quantable.reference.tensors import signed_view


def moving(build: Builder) -> Builder:
    """Let a kernel that only moves elements act on types torch has no such operation for."""

    def wrapped(site: Site) -> Kernel:
        kernel = build(site)

        def run(*inputs: Tensor | None) -> Tensor | tuple[Tensor, ...]:
            given = next(x.dtype for x in inputs if x is not None)
            result = kernel(*(None if x is None else signed_view(x) for x in inputs))
            if isinstance(result, tuple):
                return tuple(y.view(given) for y in result)
            moved: Tensor = result if result.dtype is given else result.view(given)
            return moved

        return run

    return wrapped


def _axes(site: Site, given: Tensor | None) -> tuple[int, ...] | None:
    """Return the axes of an operation: an attribute before opset 13, later an input."""
    if "axes" in site.operation.attributes:
        return site.operation.ints_attribute("axes")
    return None if given is None else integers(given)


def _reshape(site: Site) -> Kernel:
    allow_zero = bool(site.operation.int_attribute("allowzero"))
    attribute = site.operation.ints_attribute("shape")
    constant = site.integers(1) or attribute or None

    def run(x: Tensor, shape: Tensor | None = None) -> Tensor:
        wanted = constant
        if wanted is None:
            wanted = () if shape is None else integers(shape)
        if not allow_zero and 0 in wanted:
            wanted = tuple(d if d else x.shape[i] for i, d in enumerate(wanted))
        return x.reshape(wanted)

    return run


def _transpose(site: Site) -> Kernel:
    order = site.operation.ints_attribute("perm")
    return lambda x: x.permute(order or tuple(reversed(range(x.dim()))))


def _concat(site: Site) -> Kernel:
    axis = site.operation.int_attribute("axis")
    return lambda *inputs: torch.cat(inputs, axis)


def _split(site: Site) -> Kernel:
    axis = site.operation.int_attribute("axis")
    count = len(site.operation.outputs)
    attribute = site.operation.ints_attribute("split")
    constant = attribute or site.integers(1)

    def run(x: Tensor, given: Tensor | None = None) -> tuple[Tensor, ...]:
        sizes = constant
        if sizes is None and given is not None:
            sizes = integers(given)
        if sizes is None:
            step = -(-x.shape[axis] // count)
            sizes = (*(step,) * (count - 1), x.shape[axis] - step * (count - 1))
        return tuple(torch.split(x, list(sizes), axis))

    return run


def slice_axis(x: Tensor, axis: int, start: int, end: int, step: int) -> Tensor:
    """Slice one axis with ONNX's clamping; steps may be negative."""
    length = x.shape[axis]
    positions = range(length)[slice(*_clamped(start, end, step, length), step)]
    if step > 0:
        return x[(slice(None),) * (axis % x.dim()) + (slice(positions.start, max(
            positions.start, positions.stop), step),)]  # fmt: skip
    return x.index_select(axis, torch.tensor(list(positions), dtype=torch.int64))


def _clamped(start: int, end: int, step: int, length: int) -> tuple[int, int | None]:
    start = start + length if start < 0 else start
    end = end + length if end < 0 else end
    if step > 0:
        return min(max(start, 0), length), min(max(end, 0), length)
    start, end = min(max(start, 0), length - 1), min(max(end, -1), length - 1)
    return start, None if end < 0 else end


def _slice(site: Site) -> Kernel:
    op = site.operation
    is_attributes = "starts" in op.attributes
    held: tuple[tuple[int, ...] | None, ...] = tuple(site.integers(slot) for slot in range(1, 5))

    def run(x: Tensor, *given: Tensor | None) -> Tensor:
        if is_attributes:
            rows: list[Sequence[int] | None] = [
                op.ints_attribute("starts"), op.ints_attribute("ends"),
                op.ints_attribute("axes") or None, None,
            ]  # fmt: skip
        else:
            rows = [h if h is not None or g is None else integers(g) for h, g in zip(
                held, (*given, None, None, None, None), strict=False)]  # fmt: skip
        starts, ends, axes, steps = rows
        assert starts is not None
        assert ends is not None
        axes = range(len(starts)) if axes is None else axes
        steps = [1] * len(starts) if steps is None else steps
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
            x = slice_axis(x, axis % x.dim(), start, end, step)
        return x

    return run


def _gather(site: Site) -> Kernel:
    axis = site.operation.int_attribute("axis")

    def run(x: Tensor, indices: Tensor) -> Tensor:
        position = axis % x.dim()
        flat = indices.reshape(-1).to(torch.int64)
        flat = torch.where(flat < 0, flat + x.shape[position], flat)
        taken = x.index_select(position, flat)
        return taken.reshape((*x.shape[:position], *indices.shape, *x.shape[position + 1 :]))

    return run


def _gather_elements(site: Site) -> Kernel:
    axis = site.operation.int_attribute("axis")

    def run(x: Tensor, indices: Tensor) -> Tensor:
        wrapped = indices.to(torch.int64)
        wrapped = torch.where(wrapped < 0, wrapped + x.shape[axis], wrapped)
        return torch.gather(x, axis, wrapped)

    return run


def _gather_nd(site: Site) -> Kernel:
    batch = site.operation.int_attribute("batch_dims")

    def run(x: Tensor, indices: Tensor) -> Tensor:
        if not batch:
            return x[tuple(indices.to(torch.int64).unbind(-1))]
        rows = x.shape[:batch]
        count = math.prod(rows)
        flat, places = x.reshape(count, *x.shape[batch:]), indices.to(torch.int64)
        places = places.reshape(count, *indices.shape[batch:])
        first = torch.arange(count).view(-1, *[1] * (places.dim() - 2))
        taken = flat[(first, *places.unbind(-1))]
        return taken.reshape(*rows, *taken.shape[1:])

    return run


def _squeeze(site: Site) -> Kernel:
    def run(x: Tensor, given: Tensor | None = None) -> Tensor:
        axes = _axes(site, given)
        return x.squeeze() if axes is None else x.squeeze(axes)

    return run


def _unsqueeze(site: Site) -> Kernel:
    def run(x: Tensor, given: Tensor | None = None) -> Tensor:
        axes = _axes(site, given) or ()
        rank = x.dim() + len(axes)
        for axis in sorted(a % rank for a in axes):
            x = x.unsqueeze(axis)
        return x

    return run


def _flatten(site: Site) -> Kernel:
    axis = site.operation.int_attribute("axis", 1)

    def run(x: Tensor) -> Tensor:
        first = axis if axis >= 0 else axis + x.dim()
        return x.reshape(math.prod(x.shape[:first]), math.prod(x.shape[first:]))

    return run


def _expand(x: Tensor, shape: Tensor) -> Tensor:
    wanted = integers(shape)
    rank = max(x.dim(), len(wanted))
    have = (*(1,) * (rank - x.dim()), *x.shape)
    want = (*(1,) * (rank - len(wanted)), *wanted)
    return x.expand([h if w == 1 else w for h, w in zip(have, want, strict=True)])


def _tile(x: Tensor, repeats: Tensor) -> Tensor:
    return x.repeat(integers(repeats))


def _pad(site: Site) -> Kernel:
    op = site.operation
    mode = op.string_attribute("mode", "constant")
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise site.refuse(f"attribute 'mode': found {mode}")

    def run(
        x: Tensor,
        given: Tensor | None = None,
        value: Tensor | None = None,
        axes_given: Tensor | None = None,
    ) -> Tensor:
        pads = op.ints_attribute("pads") if given is None else integers(given)
        axes = range(x.dim()) if axes_given is None else integers(axes_given)
        constant = op.float_attribute("value") if value is None else value.item()
        for index, axis in enumerate(axes):
            low, high = pads[index], pads[index + len(pads) // 2]
            if low or high:
                x = _pad_axis(x, axis % x.dim(), (low, high), mode, constant)
        return x

    return run


def _pad_axis(x: Tensor, axis: int, pads: tuple[int, int], mode: str, value: float) -> Tensor:
    low, high = pads
    if mode == "constant" or (low <= 0 and high <= 0):
        sides = [0, 0] * (x.dim() - 1 - axis) + [low, high]
        if x.dtype is torch.bool:
            return functional.pad(x.to(torch.uint8), sides, value=value).to(torch.bool)
        return functional.pad(x, sides, value=value)
    length = x.shape[axis]
    positions = torch.arange(-low, length + high)
    if mode == "edge":
        positions = positions.clamp(0, length - 1)
    elif mode == "wrap":
        positions = positions.remainder(length)
    elif length > 1:
        folded = positions.remainder(2 * (length - 1))
        positions = torch.minimum(folded, 2 * (length - 1) - folded)
    else:
        positions = torch.zeros_like(positions)
    return x.index_select(axis, positions)


def _depth_to_space(site: Site) -> Kernel:
    block = site.operation.int_attribute("blocksize")
    mode = site.operation.string_attribute("mode", "DCR")

    def run(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        if mode == "DCR":
            parts = x.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
        else:
            parts = x.reshape(n, c // block**2, block, block, h, w).permute(0, 1, 4, 2, 5, 3)
        return parts.reshape(n, c // block**2, h * block, w * block)

    return run


def _reverse_sequence(site: Site) -> Kernel:
    batch, time = site.operation.int_attribute("batch_axis", 1), site.operation.int_attribute(
        "time_axis")  # fmt: skip

    def run(x: Tensor, lengths: Tensor) -> Tensor:
        moved = x.movedim((batch, time), (0, 1))
        steps = torch.arange(moved.shape[1]).view(1, -1)
        ends = lengths.to(torch.int64).view(-1, 1)
        places = torch.where(steps < ends, ends - 1 - steps, steps)
        rows = torch.arange(moved.shape[0]).view(-1, 1)
        return moved[rows, places].movedim((0, 1), (batch, time))

    return run


def _center_crop_pad(site: Site) -> Kernel:
    def run(x: Tensor, shape: Tensor) -> Tensor:
        axes = site.operation.ints_attribute("axes") or tuple(range(x.dim()))
        for axis, want in zip(axes, integers(shape), strict=True):
            have = x.shape[axis]
            if want < have:
                x = x.narrow(axis, (have - want) // 2, want)
            elif want > have:
                low = (want - have) // 2
                x = _pad_axis(x, axis % x.dim(), (low, want - have - low), "constant", 0)
        return x

    return run


def _space_to_depth(site: Site) -> Kernel:
    block = site.operation.int_attribute("blocksize")
    is_depth_first = site.operation.string_attribute("mode", "DCR") == "DCR"
    order = (0, 3, 5, 1, 2, 4) if is_depth_first else (0, 1, 3, 5, 2, 4)

    def run(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        parts = x.reshape(n, c, h // block, block, w // block, block).permute(order)
        return parts.reshape(n, c * block**2, h // block, w // block)

    return run


_KINDS: dict[str, Builder] = {
    "CenterCropPad": _center_crop_pad,
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Expand": lambda _: _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Pad": _pad,
    "Reshape": _reshape,
    "ReverseSequence": _reverse_sequence,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": lambda _: _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
TABLE: dict[str, Builder] = {kind: moving(build) for kind, build in _KINDS.items()}
