"""The geometry of sliding windows: padding, output sizes, counts of positions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from quantable.ir import Dim
from quantable.reference.site import Site

_LARGEST = (1 << 31) - 1
"""oneDNN counts in 32 bits."""


@dataclass(frozen=True, slots=True)
class Window:
    """A window over the spatial axes, as convolution and pooling attributes give it.

    Attributes:
        kernel, strides, dilations: One number a spatial axis.
        pads: Begin of every axis, then end.
        auto_pad: NOTSET, VALID, SAME_UPPER or SAME_LOWER.
        ceil_mode: Whether a last, partial window counts.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    auto_pad: str = "NOTSET"
    ceil_mode: bool = False

    @staticmethod
    def of(site: Site, kernel: Sequence[int]) -> Window:
        """Return the window of an operation whose kernel has the given extent."""
        op, rank = site.operation, len(kernel)
        auto_pad = op.string_attribute("auto_pad", "NOTSET")
        if auto_pad not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
            raise site.refuse(f"attribute 'auto_pad': found {auto_pad}")
        # The libraries below divide by strides and do not look at lengths: a bad one is the end of
        # the process.
        return Window(
            _numbers(site, "kernel_shape", tuple(kernel), rank, 1),
            _numbers(site, "strides", op.ints_attribute("strides", (1,) * rank), rank, 1),
            _numbers(site, "dilations", op.ints_attribute("dilations", (1,) * rank), rank, 1),
            _numbers(
                site, "pads", op.ints_attribute("pads", (0,) * (2 * rank)), 2 * rank, -_LARGEST
            ),
            auto_pad,
            bool(op.int_attribute("ceil_mode")),
        )

    @property
    def extents(self) -> tuple[int, ...]:
        """Size of the dilated kernel along each axis."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def is_symmetric(self) -> bool:
        """Whether begin and end pads are equal and known before the input's size is."""
        half = len(self.pads) // 2
        explicit = self.auto_pad == "NOTSET" and self.pads[:half] == self.pads[half:]
        return explicit or self.auto_pad == "VALID"

    def without_pads(self) -> Window:
        """Return the window for an input that `padded` made."""
        return replace(self, pads=(0,) * len(self.pads), auto_pad="NOTSET", ceil_mode=False)

    def begin_pads(self) -> tuple[int, ...]:
        """Return the pads of a symmetric window, one an axis."""
        half = len(self.pads) // 2
        return (0,) * half if self.auto_pad == "VALID" else self.pads[:half]

    def resolve(self, size: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
        """Return (begin pads, end pads, output size) for an input of a size."""
        begin, end, out = [], [], []
        for axis, length in enumerate(size):
            low, high = self._axis_pads(axis, length)
            extent, stride = self.extents[axis], self.strides[axis]
            room = length + low + high - extent
            steps = math.ceil(room / stride) if self.ceil_mode else room // stride
            # A window that would start in the padding behind the input does not count.
            if self.ceil_mode and steps * stride >= length + low:
                steps -= 1
            begin.append(low)
            end.append(high)
            out.append(steps + 1)
        return begin, end, out

    def _axis_pads(self, axis: int, length: int) -> tuple[int, int]:
        if self.auto_pad == "VALID":
            return 0, 0
        if self.auto_pad == "NOTSET":
            return self.pads[axis], self.pads[axis + len(self.pads) // 2]
        stride = self.strides[axis]
        out = -(-length // stride)
        total = max((out - 1) * stride + self.extents[axis] - length, 0)
        small, large = total // 2, total - total // 2
        return (small, large) if self.auto_pad == "SAME_UPPER" else (large, small)

    def padded_size(self, size: Sequence[Dim] | None) -> tuple[int, ...] | None:
        """Return the size of what `padded` makes of an input; None where that is not known."""
        known = [dim for dim in size or () if isinstance(dim, int)]
        if size is None or len(known) != len(size):
            return None
        out = self.resolve(known)[2]
        return tuple(
            (count - 1) * stride + extent
            for count, stride, extent in zip(out, self.strides, self.extents, strict=True)
        )

    def padded(self, x: Tensor, value: float = 0.0) -> Tensor:
        """Return the input with its padding, as far as windows reach, filled with a value."""
        size = x.shape[2:]
        begin, reaches = self.resolve(size)[0], self.padded_size(size) or ()
        pads: list[int] = []
        for axis in reversed(range(len(size))):
            pads += [begin[axis], reaches[axis] - size[axis] - begin[axis]]
        # In two steps: where all windows lie in the padding before the input, more of it is cut off
        # than there is before that padding is added.
        if any(pad > 0 for pad in pads):
            x = functional.pad(x, [max(pad, 0) for pad in pads], value=value)
        return functional.pad(x, [min(pad, 0) for pad in pads]) if min(pads) < 0 else x

    def counts(self, size: Sequence[int], include_pad: bool) -> list[Tensor]:
        """Return, an axis, how many positions of each window count (int64, [output size]).

        Those inside the input count, with `include_pad` those inside the declared padding too;
        what a partial last window sees beyond it never does.
        """
        begin, end, out = self.resolve(size)
        result = []
        for axis, length in enumerate(size):
            first = torch.arange(out[axis]).view(-1, 1) * self.strides[axis] - begin[axis]
            taps = first + torch.arange(self.kernel[axis]).view(1, -1) * self.dilations[axis]
            low = -begin[axis] if include_pad else 0
            high = length + (end[axis] if include_pad else 0)
            result.append(((taps >= low) & (taps < high)).sum(1))
        return result

    def sums(self, padded: Tensor) -> Tensor:
        """Return the sum over every window of an input that `padded` made."""
        if len(self.kernel) == 1 and self.dilations == (1,):
            wide = functional.avg_pool2d(
                padded.unsqueeze(2), (1, *self.kernel), (1, *self.strides), divisor_override=1
            )
            return wide.squeeze(2)
        if len(self.kernel) == 2 and self.dilations == (1, 1):
            return functional.avg_pool2d(padded, self.kernel, self.strides, divisor_override=1)
        rank = len(self.kernel)
        return self.taps(padded).sum(dim=tuple(range(-rank, 0)))

    def taps(self, padded: Tensor) -> Tensor:
        """Return a view [N, C, *output, *kernel] of every window of a padded input."""
        dense = padded.contiguous()
        out = [
            (length - extent) // stride + 1
            for length, extent, stride in zip(
                dense.shape[2:], self.extents, self.strides, strict=True
            )
        ]
        steps = dense.stride()[2:]
        outer = [step * stride for step, stride in zip(steps, self.strides, strict=True)]
        inner = [step * dilation for step, dilation in zip(steps, self.dilations, strict=True)]
        return dense.as_strided(
            (*dense.shape[:2], *out, *self.kernel), (*dense.stride()[:2], *outer, *inner)
        )


def outer_product(counts: Sequence[Tensor]) -> Tensor:
    """Return the product of per-axis counts as one tensor [*output]."""
    total = counts[0]
    for axis in counts[1:]:
        total = total.unsqueeze(-1) * axis
    return total


def _numbers(
    site: Site, name: str, found: tuple[int, ...], count: int, least: int
) -> tuple[int, ...]:
    """Return numbers of a window, refusing another count of them or one that is out of range."""
    if len(found) != count or not all(least <= number <= _LARGEST for number in found):
        raise site.refuse(
            f"attribute '{name}': expected {count} integers from {least} to {_LARGEST}, "
            f"found {found!r:.80}"
        )
    return found
