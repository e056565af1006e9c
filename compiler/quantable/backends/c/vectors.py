"""What the emitters for kernels with vectors are told about a set of kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from quantable.backends.c.gemm import Gemm
from quantable.backends.c.packing import Layout
from quantable.backends.c.unit import Step


@dataclass(frozen=True, slots=True)
class VectorKernels:
    """A set of kernels that differs from others of its kind in its headers only.

    Functions and their parameter blocks have the same names in all such sets.

    Attributes:
        prefix: What names of its headers begin with.
        layout: How constants lie.
        alignment: Of constants, in bytes.
        column_vectors: Vectors of channels in a block of a depthwise convolution.
        is_saturating: Whether its conversions from float to integer saturate; else the product of
            an accumulator and its multiplier is proven to stay in int32.
        bias_shifts: Rows of biases: in each, this is added to inputs before they are multiplied
            with weights, and taken out again.
        product_facts: Further macros of a product, whose blocks have so many vectors of outputs.
        joins: Bytes of a window at most whose runs, no whole quads, are copied side by side and
            count as one.
        joins_pixels: Whether neighbours of a line with few channels are one pixel of a depthwise
            convolution.
        output_facts: Those of products and depthwise convolutions, which depend on their output.
    """

    prefix: str
    layout: Layout
    alignment: int
    column_vectors: int
    is_saturating: bool = False
    bias_shifts: tuple[int, ...] = (0,)
    product_facts: Callable[[Gemm, int], Mapping[str, int]] = lambda _gemm, _vectors: {}
    joins: int = 0
    joins_pixels: bool = False
    output_facts: Callable[[Step], Mapping[str, int]] = lambda _: {}

    def header(self, stem: str) -> str:
        """Return the name of a header."""
        return f"{self.prefix}{stem}.h"
