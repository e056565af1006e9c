"""Products of windows with weights, as the kernels of Cortex-M are told them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantable.backends.c.unit import Step
from quantable.backends.c.windows import kernel_weight, window
from quantable.ir.streaming import Axis

STACK = 32768
"""Bytes of the stack that windows may take; larger ones run in portable C."""
_POINT = "{1, 1, 1, 1, 1, 0, 0}"


@dataclass(frozen=True, slots=True)
class Product:
    """A convolution of one group, channels last, or a linear layer.

    Attributes:
        height, width: Initializers of `q_axis`.
        rows: The axis of height.
        batch, depth: Images, and channels of an input pixel.
        pieces, taps: Runs in a row of the window, and pixels in each.
        pixels: Output pixels in all.
        is_point: Whether a window is one pixel, inside the input.
        is_dense: Whether such windows lie one behind the other, too.
        weight: [outputs, runs, run].
    """

    height: str
    width: str
    rows: Axis
    batch: int
    depth: int
    pieces: int
    taps: int
    pixels: int
    is_point: bool
    is_dense: bool
    weight: npt.NDArray[np.int64]


def conv_product(step: Step) -> Product:
    """Return a convolution as a product."""
    op, geometry = step.operation, window(step)
    rows, columns = geometry.taps
    pieces = 1 if op.ints_attribute("dilations")[-1] == 1 else columns
    weight = kernel_weight(step).reshape(geometry.out_c, geometry.in_c, rows * pieces, -1)
    runs = weight.transpose(0, 2, 3, 1).reshape(geometry.out_c, rows * pieces, -1)
    is_point = rows * columns == 1 and not any(op.ints_attribute("pads"))
    is_dense = is_point and all(stride == 1 for stride in op.ints_attribute("strides"))
    pixels = math.prod(step.shape(step.output())) // geometry.out_c
    return Product(
        geometry.height, geometry.width, geometry.rows, geometry.batch, geometry.in_c, pieces,
        columns // pieces, pixels, is_point, is_dense, runs,
    )  # fmt: skip


def linear_product(step: Step) -> Product:
    """Return a linear layer as a product: a 1 x 1 convolution over its rows."""
    x, weight = step.shape(step.input(0)), kernel_weight(step)
    rows = math.prod(x[:-1])
    line = f"{{{rows}, {rows}, 1, 1, 1, 0, 0}}"
    return Product(_POINT, line, Axis(1, 1), 1, x[-1], 1, 1, rows, True, True, weight.T[:, None])
