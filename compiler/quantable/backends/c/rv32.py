"""The table of what scalar RISC-V cores have kernels of their own for; all else is portable C."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from quantable.backends.c import riscv_elements, riscv_products
from quantable.backends.c.riscv_products import ProductKernels
from quantable.backends.c.rv32_depthwise import emit_depthwise
from quantable.backends.c.unit import Step

_BLOCK = 4


def packed(weight: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return weights [outputs, products] as [blocks, products, channels of a block]."""
    channels, length = weight.shape
    full = np.zeros((channels + -channels % _BLOCK, length), np.int64)
    full[:channels] = weight
    return full.reshape(-1, _BLOCK, length).transpose(0, 2, 1)


KERNELS = ProductKernels("q_scalar_conv", 4, _BLOCK, packed, False)


def _emit_conv(step: Step) -> bool:
    return emit_depthwise(step) or riscv_products.emit_conv(step, KERNELS)


EMITTERS: dict[str, Callable[[Step], bool]] = {
    "int.Conv": _emit_conv,
    "int.Linear": partial(riscv_products.emit_linear, kernels=KERNELS),
    "int.Add": partial(riscv_elements.emit_add, family="scalar"),
    "int.AveragePool": partial(riscv_elements.emit_average_pool, family="scalar"),
    "int.ReduceMean": partial(riscv_elements.emit_reduce_mean, family="scalar"),
}
"""By kind: emits the operation, or returns that no kernel suits it, having added nothing."""
