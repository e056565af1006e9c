"""Shape functions of user operations."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from quantable.ir import ModelError, OperationLibrary, QuantableError
from quantable.ir.user_operations import (
    BROADCAST,
    SAME,
    ShapeCall,
    TensorType,
    UserOperation,
    resolved,
)
from quantable.passes.canonicalize.shapes.broadcasting import broadcast
from quantable.passes.canonicalize.shapes.site import NotInferable, ShapeFunction, Site, Tensor
from quantable.passes.canonicalize.shapes.symbols import Expression


def user_shape_function(kind: str, library: OperationLibrary) -> ShapeFunction | None:
    """Return the shape function of a user operation, None where the library has none."""
    held = library.get(kind)
    return None if held is None else functools.partial(_infer, held.definition)


def types_of(definition: UserOperation, call: ShapeCall) -> Sequence[TensorType]:
    """Return what a definition's function says of the outputs.

    Raises:
        NotInferable: It says nothing.
        ModelError: It fails, or says something of another number of outputs.
    """
    where = call.operation.where()
    try:
        made = resolved(definition.shape)(call)
    except (QuantableError, NotInferable):
        raise
    except Exception as error:
        raise ModelError(
            f"its shape function raises {type(error).__name__}: {error}",
            where=where,
            help="look at the inputs of the operation, and at its definition",
        ) from error
    if made is None:
        raise NotInferable
    found = [made] if isinstance(made, TensorType) else list(made)
    if len(found) != len(definition.outputs):
        expected = f"expected types of {len(definition.outputs)} outputs, found {len(found)}"
        raise ModelError(f"its shape function: {expected}", where=where)
    return found


def _infer(definition: UserOperation, site: Site) -> tuple[Tensor, ...]:
    given = [tensor for tensor in site.inputs if tensor is not None]
    count = len(site.operation.outputs)
    if definition.shape == SAME:
        return (Tensor(given[0].dtype, given[0].sizes),) * count
    if definition.shape == BROADCAST:
        sizes = broadcast(site, *(tensor.sizes for tensor in given))
        return (Tensor(given[0].dtype, sizes),) * count
    inputs = tuple(None if tensor is None else _type(tensor) for tensor in site.inputs)
    found = types_of(definition, ShapeCall(site.operation, inputs, _constants(site)))
    return tuple(_tensor(site, index, one) for index, one in enumerate(found[:count]))


def _constants(site: Site) -> dict[int, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    found = {slot: site.constant(slot) for slot in range(len(site.inputs))}
    known = {slot: array for slot, array in found.items() if array is not None}
    for slot, tensor in enumerate(site.inputs):
        numbers = site.integers(slot)
        if slot not in known and tensor is not None and numbers is not None:
            shape = tuple(size.constant or 0 for size in tensor.sizes)
            known[slot] = np.array(numbers, tensor.dtype.numpy).reshape(shape)
    return known


def _type(tensor: Tensor) -> TensorType:
    return TensorType(tensor.dtype, tuple(size.dim for size in tensor.sizes))


def _tensor(site: Site, output: int, found: TensorType) -> Tensor:
    sizes = tuple(
        site.unknown(output, axis) if dim is None else Expression.of(dim)
        for axis, dim in enumerate(found.shape)
    )
    return Tensor(found.dtype, sizes)
