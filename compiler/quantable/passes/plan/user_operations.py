"""What planning asks of user operations with integer kernels: shapes, and layouts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quantable.ir import Graph, InvariantError, Operation, OptionError
from quantable.ir.operation_library import registered, user_kind
from quantable.ir.user_operations import BROADCAST, SAME, IntegerKernel, ShapeCall, TensorType
from quantable.passes.canonicalize.shapes.user_operations import types_of

Static = tuple[int, ...]


def user_kernel(graph: Graph, operation: Operation) -> IntegerKernel | None:
    """Return the integer kernel of an operation, None where it is not a user's."""
    if operation.kind == user_kind(operation.kind):
        return None
    held = registered(graph, operation.kind)
    return None if held is None else held.definition.kernel


def user_shapes(operation: Operation, shapes: Sequence[Static], graph: Graph) -> tuple[Static, ...]:
    """Return the shapes that a user's integer operation makes.

    Raises:
        InvariantError: It is none.
        OptionError: Its shape function says nothing that is fixed.
    """
    held = registered(graph, operation.kind)
    kernel = None if held is None else held.definition.kernel
    if held is None or kernel is None:
        raise InvariantError("has no shape rule", where=operation.where())
    shape = held.definition.shape
    named = dict(zip(kernel.operands, operation.inputs, strict=True))
    order = {name: kernel.operands.index(name) for name in named}
    inputs = [name for name in held.definition.input_names if name in named]
    if shape == SAME:
        return (shapes[order[inputs[0]]],)
    if shape == BROADCAST:
        return (np.broadcast_shapes(*(shapes[order[name]] for name in inputs)),)
    types = tuple(
        TensorType(graph.values[named[name]].dtype, shapes[order[name]]) if name in named else None
        for name in held.definition.input_names
    )
    found = types_of(held.definition, ShapeCall(operation, types))
    if any(not isinstance(dim, int) for one in found for dim in one.shape):
        raise OptionError(
            f"its shape function: expected numbers, found {found[0].shape}",
            where=operation.where(),
            help="from inputs of fixed shapes the shape must follow; constants are not there any "
            "more: put what they say into attributes",
        )  # fmt: skip
    return tuple(tuple(int(dim) for dim in one.shape if dim is not None) for one in found)
