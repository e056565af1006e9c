"""Kernels of user operations: what their definitions say, checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from quantable.ir import ContentRef, DataError, DType, Graph, OperationLibrary
from quantable.ir.operation_library import registered, user_kind
from quantable.ir.user_operations import UserOperation, resolved
from quantable.reference.site import Builder, Item, Kernel, Site
from quantable.reference.tensors import torch_type


def user_builder(graph: Graph, kind: str) -> Builder | None:
    """Return what compiles a user operation of a graph, float or integer; None for another kind.

    Raises:
        UserError: The definition that the graph was imported with is not here.
    """
    held = registered(graph, kind)
    return None if held is None else _builder(held.definition, kind)


def library_builder(library: OperationLibrary, kind: str) -> Builder | None:
    """Return what compiles a user operation of a library, None for another kind."""
    held = library.get(kind)
    return None if held is None else _builder(held.definition, kind)


def _builder(definition: UserOperation, kind: str) -> Builder | None:
    if kind == user_kind(kind):
        return lambda site: _kernel(site, resolved(definition.semantics), _exact)
    kernel = definition.kernel
    if kernel is None:
        return None
    return lambda site: _kernel(site, resolved(kernel.semantics), _narrowed)


def _kernel(
    site: Site, function: Callable[..., Any], finish: Callable[[Tensor, DType | None], Tensor]
) -> Kernel:
    attributes = {
        name: site.tensor_attribute(name) if isinstance(value, ContentRef) else value
        for name, value in site.operation.attributes.items()
    }
    count = len(site.operation.outputs)

    def checked(*inputs: Item) -> tuple[Tensor, ...]:
        found = function(*inputs, **attributes)
        results = found if isinstance(found, tuple) else (found,)
        if len(results) < count or not all(isinstance(item, Tensor) for item in results):
            raise TypeError(f"expected {count} tensors, found {type(found).__name__}")
        return tuple(finish(item, site.output_type(slot)) for slot, item in enumerate(results))

    def run(*inputs: Item) -> Any:
        try:
            results = checked(*inputs)
        except Exception as error:
            raise DataError(
                f"its semantics: {type(error).__name__}: {error}", where=site.operation.where(),
                help="look at the shapes of its inputs, and at its definition",
            ) from error  # fmt: skip
        return results[0] if len(results) == 1 else results

    return run


def _exact(found: Tensor, dtype: DType | None) -> Tensor:
    if dtype is not None and found.dtype is not torch_type(dtype):
        raise TypeError(f"expected {torch_type(dtype)}, found {found.dtype}")
    return found


def _narrowed(found: Tensor, dtype: DType | None) -> Tensor:
    """Bring integers to the type of the output, which must hold them."""
    if found.dtype.is_floating_point or dtype is None:
        raise TypeError(f"expected integers, found {found.dtype}")
    if found.dtype is torch_type(dtype) and not dtype.is_packed:
        return found
    if found.numel():
        low, high = (int(bound) for bound in torch.aminmax(found))
        if not dtype.minimum <= low <= high <= dtype.maximum:
            raise ValueError(f"expected integers of {dtype.value}, found {low} to {high}")
    return found.to(torch_type(dtype))
