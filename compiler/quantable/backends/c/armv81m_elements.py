"""Sums and pools for cores with Helium."""

from __future__ import annotations

from quantable.backends.c.bytes_only import byte_terms, fits_unclamped, is_bytes
from quantable.backends.c.elements import distance
from quantable.backends.c.unit import Step
from quantable.backends.c.windows import pool_parameters, window
from quantable.ir import DType


def emit_add(step: Step) -> bool:
    """int.Add of two signed bytes of the same shape."""
    terms = byte_terms(step, DType.INT8)
    if terms is None:
        return False
    facts = [step.count(), *map(str, terms), step.multiplier(), step.requantization()]
    parameters = step.parameters("q_mve_add_params", facts, is_static=not step.is_streamed)
    a, b, y = (step.written(v.name) for v in (step.input(0), step.input(1), step.output()))
    step.call(step.shared("q_mve_add", "q_mve_add.h"), parameters, a, b, y)
    return True


def emit_average_pool(step: Step) -> bool:
    """int.AveragePool on signed bytes, channels last."""
    if not is_bytes(step, 1, DType.INT8) or not window(step).is_channels_last:
        return False
    multiplier = step.array(1)
    zero = step.operation.int_attribute("x_zero_point")
    reach = multiplier.size * distance(step.input(0), zero)
    if not fits_unclamped(step, reach, float(abs(multiplier).max(initial=0))):
        return False
    facts = [*step.fact("x_zero_point", "count_include_pad"), step.requantization()]
    step.call(
        step.shared("q_mve_average_pool", "q_mve_pool.h"),
        pool_parameters(step, facts),
        step.rows(window(step).rows),
        step.pointer(step.input(0).name),
        step.constant("multiplier", multiplier, DType.FLOAT32),
        step.written(step.output().name),
    )
    return True


def emit_max_pool(step: Step) -> bool:
    """int.MaxPool on signed bytes, channels last."""
    if not is_bytes(step, 1, DType.INT8) or not window(step).is_channels_last:
        return False
    x, y = step.pointer(step.input(0).name), step.written(step.output().name)
    parameters = pool_parameters(step, ["0", "0", "{0, 0, 0}"])
    rows = step.rows(window(step).rows)
    step.call(step.shared("q_mve_max_pool", "q_mve_pool.h"), parameters, rows, x, y)
    return True
