"""Conv and ConvTranspose of ONNX, with one to three spatial axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from quantable.ir import Dim
from quantable.reference.site import Builder, Kernel, Site
from quantable.reference.threads import one_thread
from quantable.reference.windows import Window

HAS_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]

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


def prepared_convolution(
    window: Window, weight: Tensor, bias: Tensor | None, group: int, size: Sequence[Dim] | None
) -> Callable[[Tensor], Tensor]:
    """Return a convolution with constant weights.

    oneDNN blocks float32 weights for the processor's vectors; torch's own convolution does it again
    in every call, which costs a fifth of the time. Its algorithm is the direct one: no product is
    computed in another domain, so sums of integers stay exact.

    Args:
        window: The window.
        weight: [O, I / group, *kernel], float32 or float64.
        bias: [O] or None, of the same type.
        group: Number of groups.
        size: Spatial size of the input, a hint for the blocking.
    """
    if not window.is_symmetric:
        inner = prepared_convolution(
            window.without_pads(), weight, bias, group, window.padded_size(size)
        )
        return lambda x: inner(window.padded(x))
    channels = weight.shape[1] * group
    if group < 1 or weight.shape[0] % group or tuple(weight.shape[2:]) != window.kernel:
        raise ValueError(f"weight of shape {list(weight.shape)}, {group} groups, {window}")
    pads, strides = window.begin_pads(), window.strides
    geometry = (pads, strides, window.dilations, group)
    is_packable = HAS_ONEDNN and weight.dtype is torch.float32 and len(window.kernel) == 2
    if not is_packable or size is None or not all(isinstance(dim, int) for dim in size):
        plain = CONVOLUTIONS[len(window.kernel)]
        return lambda x: plain(x, weight, bias, strides, pads, window.dilations, group)
    with one_thread():
        packed = torch.ops.mkldnn._reorder_convolution_weight(
            weight, *geometry, (1, channels, *size)
        )
    pointwise = torch.ops.mkldnn._convolution_pointwise.default

    def run(x: Tensor) -> Tensor:
        if x.dim() != 4 or x.shape[1] != channels or x.dtype is not torch.float32:
            raise ValueError(f"expected {channels} channels of float32, found {x.dtype}")
        result: Tensor = pointwise(x, packed, bias, *geometry, "none", [], "")
        return result

    return run


def _of_nothing(window: Window, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the convolution of no elements, which torch refuses: the bias where a window lies."""
    spatial = [max(length, 0) for length in window.resolve(x.shape[2:])[2]]
    y = x.new_zeros(x.shape[0], weight.shape[0], *spatial)
    return y if bias is None else y + bias.view(-1, *[1] * len(spatial))


def _convolution(site: Site) -> Kernel:
    known, group = kernel_shape(site), site.operation.int_attribute("group", 1)
    weight, bias = site.constants.get(1), site.constants.get(2)
    if known is not None and weight is not None and (bias is not None or not site.has(2)):
        shape = site.input_shape()
        window, size = Window.of(site, known), None if shape is None else shape[2:]
        convolve = prepared_convolution(window, weight, bias, group, size)
        return lambda x, *_: convolve(x) if x.numel() else _of_nothing(window, x, weight, bias)

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        window = Window.of(site, known or weight.shape[2:])
        if not x.numel():
            return _of_nothing(window, x, weight, bias)
        pads: Sequence[int] = (0,) * (x.dim() - 2)
        if window.is_symmetric:
            pads = window.begin_pads()
        else:
            x = window.padded(x)
        plain = CONVOLUTIONS[x.dim() - 2]
        return plain(x, weight, bias, window.strides, pads, window.dilations, group)

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
        total = max(have - want, 0)
        small, large = total // 2, total - total // 2
        begin, end = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
        crops.append((begin, end + min(have - want, 0)))  # a larger result is extended at its end
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
