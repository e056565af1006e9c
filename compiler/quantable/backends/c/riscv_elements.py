"""Sums and means for RISC-V."""

from __future__ import annotations

import math

import numpy as np

from quantable.backends.c.bytes_only import byte_terms, is_bytes
from quantable.backends.c.fixed_point import fixed_point
from quantable.backends.c.text import number
from quantable.backends.c.unit import Step
from quantable.backends.c.windows import window

_POSITIONS = 2**22
"""Sums of fewer bytes, and what their zero points count, fit int32."""


def emit_add(step: Step, family: str) -> bool:
    """int.Add of two unsigned bytes of the same shape."""
    terms = byte_terms(step)
    if terms is None:
        return False
    first, second, constant = terms
    reach = max(abs(constant + 255 * a + 255 * b) for a in (0, first) for b in (0, second))
    count = math.prod(step.shape(step.output()))
    multiplier = step.operation.float_attribute("multiplier")
    parameters = _parameters(
        step, "q_scalar_add_params", [count, first, second, constant], multiplier, reach
    )
    a, b, y = (step.pointer(v.name) for v in (step.input(0), step.input(1), step.output()))
    call = step.shared_call if family == "vector" else step.call
    call(step.shared(f"q_{family}_add", f"q_{family}_elements.h"), parameters, a, b, y)
    return True


def emit_reduce_mean(step: Step, family: str) -> bool:
    """int.ReduceMean of unsigned bytes over all but the first and the last axis."""
    shape = step.shape(step.input(0))
    axes = sorted(axis % len(shape) for axis in step.operation.ints_attribute("axes"))
    if not is_bytes(step, 1) or axes != list(range(1, len(shape) - 1)) or not axes:
        return False
    return _emit_mean(step, family, step.operation.float_attribute("multiplier"))


def emit_average_pool(step: Step, family: str) -> bool:
    """int.AveragePool of unsigned bytes over the whole of an image, channels last."""
    op, shape = step.operation, step.shape(step.input(0))
    is_whole = tuple(op.ints_attribute("kernel_shape")) == tuple(shape[1:-1])
    if not is_bytes(step, 1) or not window(step).is_channels_last or not is_whole:
        return False
    if any(op.ints_attribute("pads")) or any(d != 1 for d in op.ints_attribute("dilations")):
        return False
    return _emit_mean(step, family, float(step.array(1).reshape(-1)[math.prod(shape[1:-1]) - 1]))


def _emit_mean(step: Step, family: str, multiplier: float) -> bool:
    shape = step.shape(step.input(0))
    positions, zero = math.prod(shape[1:-1]), step.operation.int_attribute("x_zero_point")
    if positions >= _POSITIONS:
        return False
    facts = [shape[0], positions, shape[-1], -positions * zero]
    reach = positions * max(zero, 255 - zero)
    parameters = _parameters(step, "q_scalar_mean_params", facts, multiplier, reach)
    x, y = step.pointer(step.input(0).name), step.pointer(step.output().name)
    step.call(step.shared(f"q_{family}_mean", f"q_{family}_elements.h"), parameters, x, y)
    return True


def _parameters(step: Step, struct: str, facts: list[int], multiplier: float, reach: int) -> str:
    fixed = fixed_point(step, reach, np.array([multiplier], np.float32))
    fields = [*map(str, facts), number(multiplier), fixed.initializer()]
    return step.parameters(struct, fields)
