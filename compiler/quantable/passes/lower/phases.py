"""Growth of images by whole factors: a convolution that makes all phases, and a shuffle of them.

Where an output pixel's window moves by `stride` input pixels every `phases` output pixels, output
pixel ``phases * j + p`` is output channel p of an ordinary convolution at j. A transposed
convolution is one with as many phases as its stride (its kernel, taken apart), a linear resize one
with the weights of its interpolation. See: Shi et al., "Real-Time Single Image and Video
Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network" (2016).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from quantable.ir import Attribute, DType, Operation, Shape
from quantable.passes.lower.lowering import Lowering, Target


@dataclass(frozen=True, slots=True)
class Phases:
    """How the channels of a convolution become pixels.

    Attributes:
        groups: Groups of channels; each holds all phases of its outputs.
        factors: Phases along every spatial axis, the first one varying slowest.
        sizes: Spatial sizes of the convolution's output.
        crop: Pixels that are dropped at the beginning of every spatial axis.
        result: Spatial sizes of what is left.
    """

    groups: int
    factors: tuple[int, ...]
    sizes: tuple[int, ...]
    crop: tuple[int, ...]
    result: tuple[int, ...]


def emit_shuffled(
    operation: Operation,
    lowering: Lowering,
    inputs: Sequence[str],
    attributes: Mapping[str, Attribute],
    target: Target,
    phases: Phases,
) -> None:
    """Add an int.Conv whose output channels are [groups, phases, outputs], and what sorts them.

    Args:
        operation: What is lowered.
        lowering: Where to.
        inputs: Of the convolution.
        attributes: Of the convolution, clamp and zero point included.
        target: What the operation makes.
        phases: How it is sorted.
    """
    shape = lowering.graph.shape(target.value)
    assert shape is not None
    batch, channels = shape[0], int(shape[1])
    count, rank = math.prod(phases.factors), len(phases.factors)
    if count == 1 and phases.sizes == phases.result:
        lowering.emit(operation, "int.Conv", inputs, target, attributes)
        return
    writer = _Writer(operation, lowering, target)
    value = writer.add("int.Conv", inputs, (batch, channels * count, *phases.sizes), attributes)
    each = channels // phases.groups
    apart = (phases.groups, *phases.factors, each, *phases.sizes)
    value = writer.reshape(value, (batch, *apart))
    spatial = [axis for i in range(rank) for axis in (3 + rank + i, 2 + i)]
    perm = (0, 1, 2 + rank, *spatial)
    value = writer.add(
        "Transpose", [value], (batch, *(apart[axis - 1] for axis in perm[1:])), {"perm": perm}
    )
    whole = tuple(s * f for s, f in zip(phases.sizes, phases.factors, strict=True))
    is_last = whole == phases.result
    value = writer.reshape(value, (batch, channels, *whole), is_last=is_last)
    if not is_last:
        writer.slice(value, phases)


class _Writer:
    """Adds operations between the convolution and the target."""

    def __init__(self, operation: Operation, lowering: Lowering, target: Target) -> None:
        self._operation, self._lowering, self._target = operation, lowering, target

    def add(
        self, kind: str, inputs: Sequence[str], shape: Shape, attributes: Mapping[str, Attribute]
    ) -> str:
        result = self._lowering.add_value(
            f"{self._target.value}.phases", self._target.grid.dtype, shape
        )
        self._lowering.add_operation(
            f"{self._operation.name}.phases", kind, inputs, [result],
            attributes, (*self._operation.sources, *self._target.sources),
        )  # fmt: skip
        return result

    def reshape(self, value: str, shape: Shape, *, is_last: bool = False) -> str:
        """Reshape all axes but the first one, whose size may be a symbol."""
        inputs = [value, self._constant("shape", [0, *(int(dim) for dim in shape[1:])])]
        if not is_last:
            return self.add("Reshape", inputs, shape, {})
        self._lowering.emit(self._operation, "Reshape", inputs, self._target)
        return self._target.value

    def slice(self, value: str, phases: Phases) -> None:
        """Cut out the result."""
        ends = [c + size for c, size in zip(phases.crop, phases.result, strict=True)]
        axes = [2 + i for i in range(len(ends))]
        inputs = [
            value, self._constant("starts", phases.crop), self._constant("ends", ends),
            self._constant("axes", axes),
        ]  # fmt: skip
        self._lowering.emit(self._operation, "Slice", inputs, self._target)

    def _constant(self, what: str, numbers: Sequence[int]) -> str:
        hint = f"{self._operation.name}.{what}"
        return self._lowering.add_parameter(hint, np.array(numbers, np.int64), DType.INT64)
