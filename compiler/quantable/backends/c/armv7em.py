"""The table of what Cortex-M4 and M7 have kernels of their own for; all else is portable C."""

from __future__ import annotations

from collections.abc import Callable

from quantable.backends.c import armv7em_elements, armv7em_products
from quantable.backends.c.unit import Step

EMITTERS: dict[str, Callable[[Step], bool]] = {
    "int.Conv": armv7em_products.emit_conv,
    "int.Linear": armv7em_products.emit_linear,
    "int.Add": armv7em_elements.emit_add,
}
"""By kind: emits the operation, or returns that no kernel suits it, having added nothing."""
