"""The table of what x86-64 has kernels of its own for; all else runs in portable C."""

from __future__ import annotations

from collections.abc import Callable

from quantable.backends.c import x86_activations, x86_products
from quantable.backends.c.unit import Step

EMITTERS: dict[str, Callable[[Step], bool]] = {
    "int.Conv": x86_products.emit_conv,
    "int.Linear": x86_products.emit_linear,
    "int.MaxPool": x86_activations.emit_max_pool,
    "int.AveragePool": x86_activations.emit_average_pool,
    "int.ReduceMean": x86_activations.emit_reduce_mean,
    "int.Add": x86_activations.emit_add,
    "int.MatMul": x86_activations.emit_matmul,
}
"""By kind: emits the operation, or returns that no kernel suits it, having added nothing."""
