"""The table of what RISC-V with vectors has kernels of its own for; all else is portable C."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from quantable.backends.c import riscv_elements, riscv_products, vector_activations
from quantable.backends.c.accumulators import settled
from quantable.backends.c.riscv_products import (
    ProductKernels,
    folded_bias,
    is_suited,
    layer_fixed_point,
)
from quantable.backends.c.unit import Step
from quantable.backends.c.windows import kernel_weight, window
from quantable.ir import DType

_BLOCK = 64


def packed(weight: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return weights [outputs, products] as blocks of up to 64 channels, [product, channel]."""
    blocks = (weight[first : first + _BLOCK] for first in range(0, weight.shape[0], _BLOCK))
    return np.concatenate([block.T.reshape(-1) for block in blocks])


KERNELS = ProductKernels("q_vector_conv", 6, 1, packed, True)


def _emit_conv(step: Step) -> bool:
    return _emit_depthwise(step) or riscv_products.emit_conv(step, KERNELS)


def _emit_depthwise(step: Step) -> bool:
    """int.Conv with one input and one output channel a group."""
    op, y = step.operation, step.output()
    if not is_suited(step) or y.dtype is not DType.UINT8:
        return False
    geometry = window(step)
    channels = geometry.in_c
    if not op.int_attribute("group") == channels == geometry.out_c:
        return False
    layer = settled(step, kernel_weight(step).reshape(channels, -1))
    zero = op.int_attribute("x_zero_point")
    step.macs = math.prod(step.shape(y)) * layer.weight.shape[1]
    facts = [geometry.height, geometry.width, str(geometry.batch), str(channels), str(zero)]
    parameters = step.parameters(
        "q_vector_depthwise_params", [*facts, layer_fixed_point(step, layer)]
    )
    step.shared_call(
        step.shared("q_vector_depthwise", "q_vector_depthwise.h"),
        parameters,
        step.pointer(step.input(0).name),
        step.constant("weight", layer.weight.T, DType.INT8),
        step.constant("bias", folded_bias(layer, zero), DType.INT32),
        step.constant("multiplier", layer.multiplier, DType.FLOAT32),
        step.pointer(y.name),
    )
    return True


EMITTERS: dict[str, Callable[[Step], bool]] = {
    "int.Conv": _emit_conv,
    "int.Linear": partial(riscv_products.emit_linear, kernels=KERNELS),
    "int.Add": partial(riscv_elements.emit_add, family="vector"),
    "int.AveragePool": partial(riscv_elements.emit_average_pool, family="vector"),
    "int.ReduceMean": partial(riscv_elements.emit_reduce_mean, family="vector"),
    "int.MaxPool": partial(vector_activations.emit_maximum, header="q_vector_maximum.h"),
}
"""By kind: emits the operation, or returns that no kernel suits it, having added nothing."""
