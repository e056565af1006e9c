"""Lower transposed convolutions: ordinary ones that make all phases of the output."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from quantable.ir import QuantableOperation
from quantable.passes.lower.linear_algebra import Weights, operands, read_weights
from quantable.passes.lower.lowering import Lowering
from quantable.passes.lower.phases import Phases, emit_shuffled
from quantable.passes.lower.windows import static_dims

Integers = npt.NDArray[np.int64]
Number = TypeVar("Number", bound=np.generic)


def lower_conv_transpose(operation: QuantableOperation, lowering: Lowering) -> None:
    """Lower a transposed convolution with constant weights, one or two spatial dimensions.

    ``normalize-windows`` has written its padding out.
    """
    source, target = lowering.read(operation, 0), lowering.target(operation)
    group = operation.int_attribute("group", 1)
    held = read_weights(
        operation, lowering, source.grid, target, axis=1,
        arrange=lambda weight: _outputs_first(weight, group),
    )  # fmt: skip
    kernel = held.integers.shape[2:]
    rank = len(kernel)
    strides = operation.ints_attribute("strides") or (1,) * rank
    dilations = operation.ints_attribute("dilations") or (1,) * rank
    pads = operation.ints_attribute("pads") or (0,) * (2 * rank)
    more = operation.ints_attribute("output_padding") or (0,) * rank
    weight = _by_phase(_dense(held.integers, dilations), group, strides)
    taps = weight.shape[2:]
    sizes = static_dims(operation, source.shape, range(2, 2 + rank))
    result = tuple(
        (n - 1) * s + (k - 1) * d + 1 + extra - begin - end
        for n, s, k, d, extra, begin, end in zip(
            sizes, strides, kernel, dilations, more, pads[:rank], pads[rank:], strict=True
        )
    )
    before = tuple(t - 1 for t in taps)
    # The output may end behind the last pixel that any input reaches: one more position is enough.
    after = tuple(
        max(-(-(begin + n) // s) - size, t - 1)
        for begin, n, s, size, t in zip(pads[:rank], result, strides, sizes, taps, strict=True)
    )
    made = tuple(n + a for n, a in zip(sizes, after, strict=True))
    attributes = {
        "x_zero_point": source.grid.zero_point, "group": group, **target.attributes,
        "kernel_shape": taps, "strides": (1,) * rank, "dilations": (1,) * rank,
        "pads": (*before, *after),
    }  # fmt: skip
    phases = Phases(group, strides, made, pads[:rank], result)
    inputs = [source.name, *operands(operation, lowering, _spread(held, weight, group, strides))]
    emit_shuffled(operation, lowering, inputs, attributes, target, phases)


def _outputs_first(weight: Integers, group: int) -> Integers:
    """Return [O, I / group, ...] for a weight [I, O / group, ...]."""
    inputs, outputs, *kernel = weight.shape
    apart = weight.reshape(group, inputs // group, outputs, *kernel)
    return apart.swapaxes(1, 2).reshape(group * outputs, inputs // group, *kernel)


def _dense(weight: Integers, dilations: tuple[int, ...]) -> Integers:
    """Write a dilated kernel with zeros between its taps."""
    kernel = weight.shape[2:]
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    dense = np.zeros((*weight.shape[:2], *extents), weight.dtype)
    everywhere = (slice(None), slice(None), *(slice(None, None, d) for d in dilations))
    dense[everywhere] = weight
    return dense


def _by_phase(weight: Integers, group: int, strides: tuple[int, ...]) -> Integers:
    """Return the kernels of the phases, [group * phases * O / group, I / group, taps].

    Output ``s * j + p`` adds input ``j - t`` times tap ``s * t + p``: behind one another, the taps
    of a phase are a kernel that runs against the input.
    """
    outputs, inputs, *kernel = weight.shape
    rank = len(kernel)
    counts = [-(-k // s) for k, s in zip(kernel, strides, strict=True)]
    ends = [(0, n * s - k) for n, s, k in zip(counts, strides, kernel, strict=True)]
    padded = np.pad(weight, [(0, 0), (0, 0), *ends])
    pairs = [size for pair in zip(counts, strides, strict=True) for size in pair]
    apart = padded.reshape(group, outputs // group, inputs, *pairs)
    taps, phases = range(3, 3 + 2 * rank, 2), range(4, 4 + 2 * rank, 2)
    turned = np.flip(apart, tuple(taps)).transpose(0, *phases, 1, 2, *taps)
    return np.ascontiguousarray(turned.reshape(-1, inputs, *counts))


def _spread(held: Weights, weight: Integers, group: int, strides: tuple[int, ...]) -> Weights:
    """Return the weights of all phases, with bias and multiplier once for each."""
    count = int(np.prod(strides))

    def repeated(vector: npt.NDArray[Number]) -> npt.NDArray[Number]:
        apart = vector.reshape(group, 1, -1)
        return np.broadcast_to(apart, (group, count, apart.shape[2])).reshape(-1)

    return Weights(weight, repeated(held.bias), repeated(held.multiplier), held.dtype)
