"""Convolutions of one group and linear layers for RISC-V: products of windows with weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantable.backends.c.accumulators import Layer, settled
from quantable.backends.c.fixed_point import fixed_point
from quantable.backends.c.text import C_TYPES
from quantable.backends.c.unit import Step
from quantable.backends.c.windows import fold_zero_point, kernel_weight, window
from quantable.ir import DType

_STACK = 32768
"""Bytes of the stack that windows may take; larger ones run in portable C."""
_POINT = "{1, 1, 1, 1, 1, 0, 0}"


@dataclass(frozen=True, slots=True)
class ProductKernels:
    """A kernel that takes a `q_product` (q_runs.h), and how it wants its constants.

    Attributes:
        stem: Its name; the header has the same.
        pixels: Windows that it copies at a time.
        block: Output channels of a block, to whole ones of which the bias is filled up with zeros.
        pack: Makes what it reads of weights [outputs, products].
        is_shared: Whether threads share it.
    """

    stem: str
    pixels: int
    block: int
    pack: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]
    is_shared: bool


def emit_conv(step: Step, kernels: ProductKernels) -> bool:
    """int.Conv of one group on unsigned bytes, channels last."""
    op = step.operation
    if not is_suited(step) or op.int_attribute("group") != 1:
        return False
    geometry = window(step)
    weight = kernel_weight(step).reshape(geometry.out_c, geometry.in_c, *geometry.taps)
    products = np.moveaxis(weight, 1, -1).reshape(geometry.out_c, -1)
    is_direct = op.ints_attribute("dilations")[-1] == 1
    is_copied = any(op.ints_attribute("pads")) or not is_direct
    facts = [geometry.height, geometry.width, str(geometry.batch), str(geometry.in_c)]
    return _emit(step, kernels, facts, products, is_direct=is_direct, is_copied=is_copied)


def emit_linear(step: Step, kernels: ProductKernels) -> bool:
    """int.Linear on unsigned bytes: a 1 x 1 convolution over its rows."""
    if not is_suited(step):
        return False
    x = step.shape(step.input(0))
    rows = math.prod(x[:-1])
    line = f"{{{rows}, {rows}, 1, 1, 1, 0, 0}}"
    products = kernel_weight(step).T
    facts = [_POINT, line, "1", str(x[-1])]
    return _emit(step, kernels, facts, products, is_direct=True, is_copied=False)


def _emit(
    step: Step,
    kernels: ProductKernels,
    geometry: list[str],
    products: npt.NDArray[np.int64],
    *,
    is_direct: bool,
    is_copied: bool,
) -> bool:
    """Emit a product of windows with weights [outputs, products]."""
    y, (channels, length) = step.output(), products.shape
    if is_copied and kernels.pixels * length > _STACK:
        return False
    step.macs = math.prod(step.shape(y)) * length
    layer = settled(step, products)
    zero = step.operation.int_attribute("x_zero_point")
    facts = [channels, zero, length, int(is_direct)]
    parameters = step.parameters(
        "q_product",
        [*geometry, *map(str, facts), layer_fixed_point(step, layer)],
    )
    if is_copied:
        step.lines.append(f"uint8_t windows[{kernels.pixels * length}];")
    call = step.shared_call if kernels.is_shared else step.call
    call(
        step.instance(kernels.stem, f"{kernels.stem}.h", {"Y": C_TYPES[y.dtype]}, y.dtype.value),
        parameters,
        step.pointer(step.input(0).name),
        step.constant("weight", kernels.pack(layer.weight), DType.INT8),
        step.constant("bias", _filled(folded_bias(layer, zero), kernels.block), DType.INT32),
        step.constant("multiplier", layer.multiplier, DType.FLOAT32),
        "windows" if is_copied else "NULL",
        step.pointer(y.name),
    )
    return True


def layer_fixed_point(step: Step, layer: Layer) -> str:
    """Return the initializer of a layer's `q_fixed`."""
    return fixed_point(step, layer.reach, layer.multiplier).initializer()


def folded_bias(layer: Layer, zero: int) -> npt.NDArray[np.int64]:
    """Return ``bias - zero * sum(weight)`` of every output."""
    return fold_zero_point(layer.bias, zero, layer.weight)


def is_suited(step: Step) -> bool:
    """Whether a layer reads unsigned bytes, channels last, and writes what kernels here write."""
    op = step.operation
    if op.kind == "int.Conv" and op.string_attribute("layout", "NCHW") != "NHWC":
        return False
    is_output = step.output().dtype in (DType.UINT8, DType.INT16)
    return step.input(0).dtype is DType.UINT8 and is_output


def _filled(values: npt.NDArray[np.int64], block: int) -> npt.NDArray[np.int64]:
    return np.concatenate([values, np.zeros(-values.size % block, np.int64)])
