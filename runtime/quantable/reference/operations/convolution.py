"""Conv and ConvTranspose of ONNX, with one to three spatial axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from quantable.ir import Dim
from quantable.reference.site import Builder, Item, Kernel, Site
from quantable.reference.threads import one_thread
from quantable.reference.windows import Window

HAS_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call] # torch's own
_POINTWISE = torch.ops.mkldnn._convolution_pointwise.default if HAS_ONEDNN else None

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


@dataclass(frozen=True, slots=True, eq=False)
class PackedConvolution:
    """A convolution of float32 images [N, channels, H, W] with constant weights, run by oneDNN.

    Attributes:
        weight: [O, channels / group, *kernel], as oneDNN blocks it.
        bias: [O] or None.
        geometry: Pads, strides, dilations and number of groups.
        channels: Of the input.
        window: The window, its pads included.
        is_padded: Whether the input is padded before, since the pads are not symmetric.
        clamp: (low, high), low at most high, between which the results are put, None for nothing. A
            sum that is NaN becomes one of them.
    """

    weight: Tensor
    bias: Tensor | None
    geometry: tuple[Sequence[int], Sequence[int], Sequence[int], int]
    channels: int
    window: Window
    is_padded: bool
    clamp: tuple[float, float] | None = None

    def __call__(self, x: Tensor, *_: Item) -> Tensor:
        """Return the convolution of an input; weight and bias of the call are not looked at."""
        if x.dim() != 4 or x.shape[1] != self.channels or x.dtype is not torch.float32:
            raise ValueError(f"expected {self.channels} channels of float32, found {x.dtype}")
        if not x.numel():
            nothing = _of_nothing(self.window, x, self.weight.shape[0], self.bias)
            return nothing if self.clamp is None else nothing.clamp_(*self.clamp)
        assert _POINTWISE is not None
        attribute, ends = ("none", ()) if self.clamp is None else ("hardtanh", self.clamp)
        x = self.window.padded(x) if self.is_padded else x
        result: Tensor = _POINTWISE(x, self.weight, self.bias, *self.geometry, attribute, ends, "")
        return result


def prepared_convolution(
    window: Window, weight: Tensor, bias: Tensor | None, group: int, size: Sequence[Dim] | None
) -> Callable[..., Tensor]:
    """Return a convolution with constant weights, a `PackedConvolution` where it can be one.

    oneDNN blocks float32 weights for the processor's vectors; torch's own convolution does it again
    in every call, which costs a fifth of the time. Its algorithm is the direct one: no product is
    computed in another domain, so sums of integers stay exact. It reads wrong numbers where
    the only channel's lines have one window each, and windows move by one line but several columns:
    torch's own, of images in their own order, does not.

    Args:
        window: The window.
        weight: [O, I / group, *kernel], float32 or float64.
        bias: [O] or None, of the same type.
        group: Number of groups.
        size: Spatial size of the input, a hint for the blocking.
    """
    channels = weight.shape[1] * group
    if group < 1 or weight.shape[0] % group or tuple(weight.shape[2:]) != window.kernel:
        raise ValueError(f"weight of shape {list(weight.shape)}, {group} groups, {window}")
    dense, is_padded = window, not window.is_symmetric
    if is_padded:
        dense, size = window.without_pads(), window.padded_size(size)
    pads, strides = dense.begin_pads(), dense.strides
    geometry = (pads, strides, dense.dilations, group)
    is_packable = HAS_ONEDNN and weight.dtype is torch.float32 and len(window.kernel) == 2
    is_packable = is_packable and (channels > 1 or strides[0] == strides[1])
    if is_packable and size is not None and all(isinstance(dim, int) for dim in size):
        with one_thread():
            packed = torch.ops.mkldnn._reorder_convolution_weight(
                weight, *geometry, (1, channels, *size)
            )
        return PackedConvolution(packed, bias, geometry, channels, window, is_padded)
    plain = CONVOLUTIONS[len(window.kernel)]

    def run(x: Tensor, *_: Item) -> Tensor:
        if not x.numel():
            return _of_nothing(window, x, weight.shape[0], bias)
        x = _in_order(window.padded(x) if is_padded else x)
        return plain(x, weight, bias, strides, pads, dense.dilations, group)

    return run


def _in_order(x: Tensor) -> Tensor:
    """Return the same with strides of its own order, which those of one channel need not be.

    One channel that was the last axis keeps the strides of that order, which fit both.
    """
    return x.contiguous().flatten().view(x.shape) if x.shape[1] == 1 else x


def _of_nothing(window: Window, x: Tensor, count: int, bias: Tensor | None) -> Tensor:
    """Return the convolution of no elements, which torch refuses: the bias where a window lies."""
    spatial = [max(length, 0) for length in window.resolve(x.shape[2:])[2]]
    y = x.new_zeros(x.shape[0], count, *spatial)
    return y if bias is None else y + bias.view(-1, *[1] * len(spatial))


def _convolution(site: Site) -> Kernel:
    known, group = kernel_shape(site), site.operation.int_attribute("group", 1)
    weight, bias = site.constants.get(1), site.constants.get(2)
    if known is not None and weight is not None and (bias is not None or not site.has(2)):
        shape = site.input_shape()
        size = None if shape is None else shape[2:]
        return prepared_convolution(Window.of(site, known), weight, bias, group, size)

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        window = Window.of(site, known or weight.shape[2:])
        if not x.numel():
            return _of_nothing(window, x, weight.shape[0], bias)
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
