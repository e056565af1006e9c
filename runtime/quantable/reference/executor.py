"""Execution of single float operations, for constant folding and for tables."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from quantable.ir import (
    NO_OPERATIONS,
    ContentStore,
    Graph,
    Operation,
    OperationLibrary,
    UnsupportedError,
)
from quantable.reference.operations.table import FLOAT_OPERATIONS
from quantable.reference.runtime import region_kernels
from quantable.reference.site import Site
from quantable.reference.tensors import Array, to_array, to_tensor
from quantable.reference.threads import one_thread
from quantable.reference.user_operations import library_builder


class FloatExecutor:
    """Runs float operations on constant inputs (see `quantable.passes.base.Executor`).

    Args:
        opset: Opset of the operations.
        store: Where attributes that are tensors have their contents.
        library: The user operations at hand.
    """

    def __init__(
        self,
        opset: int = 21,
        store: ContentStore | None = None,
        library: OperationLibrary = NO_OPERATIONS,
    ) -> None:
        self._opset = opset
        self._library = library
        self._store = store

    def run_operation(
        self, operation: Operation, inputs: Sequence[Array | None]
    ) -> tuple[Array, ...]:
        """Execute one float operation.

        Args:
            operation: The operation; the names of its values do not matter.
            inputs: One array an input slot, None where it is absent.

        Returns:
            One array an output slot.

        Raises:
            UnsupportedError: The runtime does not have the kind of operation.
        """
        return run_operation(
            operation, inputs, opset=self._opset, store=self._store, library=self._library
        )


def run_operation(
    operation: Operation,
    inputs: Sequence[Array | None],
    *,
    opset: int = 21,
    store: ContentStore | None = None,
    library: OperationLibrary = NO_OPERATIONS,
) -> tuple[Array, ...]:
    """Execute one float operation; see `FloatExecutor.run_operation`."""
    builder = FLOAT_OPERATIONS.get(operation.kind) or library_builder(library, operation.kind)
    if builder is None:
        raise UnsupportedError(
            f"the reference runtime has no operation {operation.kind}", where=operation.where()
        )
    tensors = [None if given is None else to_tensor(given) for given in inputs]
    graph = Graph("", opset=opset, store=store or ContentStore(), library=library)
    with one_thread():
        site = Site(operation, opset, store=store, regions=region_kernels(graph, operation))
        result = builder(site)(*tensors)
    outputs = result if isinstance(result, tuple) else (result,)
    if not all(isinstance(output, Tensor) for output in outputs):
        raise UnsupportedError("it makes values that are no tensors", where=operation.where())
    return tuple(to_array(output).copy() for output in outputs)
