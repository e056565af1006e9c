"""Sums for the kernels of Cortex-M4 and M7."""

from __future__ import annotations

from quantable.backends.c.bytes_only import byte_terms
from quantable.backends.c.unit import Step


def emit_add(step: Step) -> bool:
    """int.Add of two unsigned bytes of the same shape."""
    terms = byte_terms(step)
    if terms is None:
        return False
    first, second, constant = terms
    factors = (first & 0xFFFF) | (second & 0xFFFF) << 16
    parameters = step.parameters(
        "q_dsp_add_params",
        [step.count(), f"{factors}u", str(constant), step.multiplier(), step.requantization()],
        is_static=not step.is_streamed,
    )
    a, b, y = (step.written(v.name) for v in (step.input(0), step.input(1), step.output()))
    step.call(step.shared("q_dsp_add", "q_dsp_add.h"), parameters, a, b, y)
    return True
