"""The table of what scalar RISC-V cores have kernels of their own for; all else is portable C."""

from __future__ import annotations

from collections.abc import Callable

from quantable.backends.c import rv32_elements, rv32_products
from quantable.backends.c.unit import Step

EMITTERS: dict[str, Callable[[Step], bool]] = {
    "int.Conv": rv32_products.emit_conv,
    "int.Linear": rv32_products.emit_linear,
    "int.Add": rv32_elements.emit_add,
    "int.AveragePool": rv32_elements.emit_average_pool,
    "int.ReduceMean": rv32_elements.emit_reduce_mean,
}
"""By kind: emits the operation, or returns that no kernel suits it, having added nothing."""
