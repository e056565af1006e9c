"""Conv and ConvTranspose of ONNX, with one to three spatial axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor
from torch.nn import functional

from quantable.reference.site import Builder, Kernel, Site
from quantable.reference.windows import Window

CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {
    1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d,
}  # fmt: skip
_TRANSPOSED: dict[int, Callable[..., Tensor]] = {
    1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d,
}  # fmt: skip


def kernel_shape(site: Site) -> tuple[int, ...] | None:
    """Return the extent of an operation's kernel, where attributes or constants tell it."""
    declared = site.operation.ints_attribute("kernel_shape")
    if declared:
        return declared
    weight = site.constants.get(1)
    return None if weight is None else tuple(weight.shape[2:])


def _convolution(site: Site) -> Kernel:
    group = site.operation.int_attribute("group", 1)
    known = kernel_shape(site)

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        window = fixed_window or Window.of(site, weight.shape[2:])
        convolve = CONVOLUTIONS[x.dim() - 2]
        if window.is_symmetric:
            pads: Sequence[int] = window.begin_pads()
        else:
            x, pads = window.padded(x), (0,) * (x.dim() - 2)
        return convolve(x, weight, bias, window.strides, pads, window.dilations, group)

    fixed_window = None if known is None else Window.of(site, known)
    return run


def _transposed_pads(site: Site, size: Sequence[int], full: Sequence[int]) -> list[tuple[int, int]]:
    """Return how much is cropped from (begin, end) of each axis of the full result."""
    op, rank = site.operation, len(size)
    wanted = op.ints_attribute("output_shape")
    auto_pad = op.string_attribute("auto_pad", "NOTSET")
    strides = op.ints_attribute("strides", (1,) * rank)
    if not wanted and auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        wanted = tuple(length * stride for length, stride in zip(size, strides, strict=True))
    if not wanted:
        pads = op.ints_attribute("pads", (0,) * (2 * rank))
        return [(0, 0)] * rank if auto_pad == "VALID" else [
            (pads[axis], pads[axis + rank]) for axis in range(rank)
        ]  # fmt: skip
    crops = []
    for have, want in zip(full, wanted[-rank:], strict=True):
        total = have - want
        # The specification's formula; totals below zero extend the result instead.
        small, large = total // 2, total - total // 2
        crops.append((large, small) if auto_pad == "SAME_LOWER" else (small, large))
    return crops


def _transposed_convolution(site: Site) -> Kernel:
    op = site.operation
    group = op.int_attribute("group", 1)

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        rank = x.dim() - 2
        strides = op.ints_attribute("strides", (1,) * rank)
        dilations = op.ints_attribute("dilations", (1,) * rank)
        extra = op.ints_attribute("output_padding", (0,) * rank)
        full = _TRANSPOSED[rank](x, weight, None, strides, 0, 0, group, dilations)
        if any(extra):
            full = functional.pad(full, [n for e in reversed(extra) for n in (0, e)])
        crops = _transposed_pads(site, x.shape[2:], full.shape[2:])
        if any(n for crop in crops for n in crop):
            full = functional.pad(full, [-n for crop in reversed(crops) for n in crop])
        return full if bias is None else full + bias.view(1, -1, *[1] * rank)

    return run


TABLE: dict[str, Builder] = {
    "Conv": _convolution,
    "ConvTranspose": _transposed_convolution,
}
