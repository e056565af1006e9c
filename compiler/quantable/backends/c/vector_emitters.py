"""The table of what sets of kernels with vectors are made for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from quantable.backends.c import vector_activations, vector_products
from quantable.backends.c.unit import Step
from quantable.backends.c.vectors import VectorKernels

Emitter = Callable[[Step], bool]
_EMITTERS: Mapping[str, Callable[[Step, VectorKernels], bool]] = {
    "int.Conv": vector_products.emit_conv,
    "int.Linear": vector_products.emit_linear,
    "int.MaxPool": vector_activations.emit_max_pool,
    "int.AveragePool": vector_activations.emit_average_pool,
    "int.ReduceMean": vector_activations.emit_reduce_mean,
    "int.Add": vector_activations.emit_add,
    "int.MatMul": vector_activations.emit_matmul,
}


def vector_emitters(kernels: VectorKernels) -> Mapping[str, Emitter]:
    """Return the table of one set, by kind: emits the operation, or returns False."""
    return {kind: _bound(emit, kernels) for kind, emit in _EMITTERS.items()}


def _bound(emit: Callable[[Step, VectorKernels], bool], kernels: VectorKernels) -> Emitter:
    return lambda step: emit(step, kernels)
