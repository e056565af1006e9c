"""Operations of activations alone for kernels with vectors: sums, means, maxima, products."""

from __future__ import annotations

import math

from quantable.backends.c.bytes_only import byte_terms, fits_unclamped, is_bytes
from quantable.backends.c.sequences import product
from quantable.backends.c.text import number
from quantable.backends.c.unit import Step
from quantable.backends.c.vectors import VectorKernels
from quantable.backends.c.windows import window

_INNER = 1024
"""Products of a sum at most: a packed block of columns lies on the stack, 64 bytes for each."""


def emit_add(step: Step, kernels: VectorKernels) -> bool:
    """int.Add of two unsigned bytes of the same shape."""
    terms = byte_terms(step)
    if terms is None:
        return False
    *factors, constant = terms
    facts = [math.prod(step.shape(step.output())), *factors, constant]
    parameters = step.parameters(
        "q_sum_params", [*map(str, facts), step.multiplier(), step.requantization()]
    )
    a, b, y = (step.pointer(v.name) for v in (step.input(0), step.input(1), step.output()))
    step.shared_call(step.shared("q_sum_bytes", kernels.header("sum")), parameters, a, b, y)
    return True


def emit_reduce_mean(step: Step, kernels: VectorKernels) -> bool:
    """int.ReduceMean of unsigned bytes over all but the first and the last axis."""
    shape = step.shape(step.input(0))
    axes = sorted(axis % len(shape) for axis in step.operation.ints_attribute("axes"))
    if not is_bytes(step, 1) or axes != list(range(1, len(shape) - 1)) or not axes:
        return False
    multiplier = step.operation.float_attribute("multiplier")
    return _emit_mean(step, kernels, shape[0], math.prod(shape[1:-1]), shape[-1], multiplier)


def emit_average_pool(step: Step, kernels: VectorKernels) -> bool:
    """int.AveragePool of unsigned bytes over the whole of an image, channels last."""
    op, geometry = step.operation, window(step)
    shape = step.shape(step.input(0))
    is_whole = tuple(op.ints_attribute("kernel_shape")) == tuple(shape[1:-1])
    if not is_bytes(step, 1) or not geometry.is_channels_last or not is_whole:
        return False
    if any(op.ints_attribute("pads")) or any(d != 1 for d in op.ints_attribute("dilations")):
        return False
    positions = math.prod(shape[1:-1])
    multiplier = float(step.array(1).reshape(-1)[positions - 1])
    return _emit_mean(step, kernels, shape[0], positions, shape[-1], multiplier)


def _emit_mean(
    step: Step,
    kernels: VectorKernels,
    images: int,
    positions: int,
    channels: int,
    multiplier: float,
) -> bool:
    zero = step.operation.int_attribute("x_zero_point")
    if positions >= 2**22 or not fits_unclamped(step, 255 * positions, multiplier):
        return False
    facts = [images, positions, channels, -positions * zero]
    parameters = step.parameters(
        "q_mean_params", [*map(str, facts), number(multiplier), step.requantization()]
    )
    x, y = step.pointer(step.input(0).name), step.pointer(step.output().name)
    step.shared_call(step.shared("q_mean_bytes", kernels.header("mean")), parameters, x, y)
    return True


def emit_max_pool(step: Step, kernels: VectorKernels) -> bool:
    """int.MaxPool of unsigned bytes, channels last."""
    return emit_maximum(step, kernels.header("maximum"))


def emit_maximum(step: Step, header: str) -> bool:
    """The same for a set whose header makes one pixel of `q_maximum_bytes`."""
    geometry = window(step)
    if not is_bytes(step, 1) or not geometry.is_channels_last:
        return False
    sizes = [geometry.height, geometry.width, str(geometry.batch), str(geometry.in_c)]
    parameters = step.parameters("q_maximum_params", sizes)
    x, y = step.pointer(step.input(0).name), step.pointer(step.output().name)
    step.shared_call(step.shared("q_maximum_bytes", header), parameters, x, y)
    return True


def emit_matmul(step: Step, kernels: VectorKernels) -> bool:
    """int.MatMul of unsigned bytes."""
    if not is_bytes(step, 2):
        return False
    found = product(step)
    if found.inner > _INNER or not fits_unclamped(step, found.bound):
        return False
    sizes = [found.rows, found.columns, *found.zero_points]
    parameters = step.parameters(
        "q_matrix", [found.batch, *map(str, sizes), step.multiplier(), step.requantization()]
    )
    inner = str(found.inner)
    function = step.instance("q_matrix", kernels.header("matrix"), {"INNER": inner}, inner)
    step.macs = found.count * found.rows * found.inner * found.columns
    a, b, y = (step.pointer(v.name) for v in (step.input(0), step.input(1), step.output()))
    step.shared_call(function, parameters, a, b, y)
    return True
