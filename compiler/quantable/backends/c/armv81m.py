"""The table of what cores with Helium have kernels of their own for; all else is portable C."""

from __future__ import annotations

from collections.abc import Callable

from quantable.backends.c import armv81m_depthwise, armv81m_elements, armv81m_products
from quantable.backends.c.unit import Step

EMITTERS: dict[str, Callable[[Step], bool]] = {
    "int.Conv": lambda step: armv81m_depthwise.emit(step) or armv81m_products.emit_conv(step),
    "int.Linear": armv81m_products.emit_linear,
    "int.Add": armv81m_elements.emit_add,
    "int.AveragePool": armv81m_elements.emit_average_pool,
    "int.MaxPool": armv81m_elements.emit_max_pool,
}
"""By kind: emits the operation, or returns that no kernel suits it, having added nothing."""
