"""What every operation asks of the stored forms of its operands."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from quantable.ir import Graph, Operation, Shape
from quantable.ir.integer_operations import INTEGER_OPERATIONS, MOVEMENT_OPERATIONS
from quantable.passes.plan.layouts import (
    Perm,
    channels_last,
    identity,
    is_direct_reshape,
)
from quantable.passes.plan.user_operations import user_kernel


class Freedom(enum.Enum):
    """How free an operation is in the stored form of its activations."""

    SPATIAL = "spatial"  # channels last
    FREE = "free"  # any form, the same for all operands
    EDGE = "edge"  # the forms of input and output depend on each other
    FIXED = "fixed"  # as it is


SPATIAL_KINDS = ("int.Conv", "int.MaxPool", "int.AveragePool")
_FREE_KINDS = (
    "int.Requantize", "int.Table", "int.InterpolatedTable", "int.Add", "int.Mul", "Concat", "Pad",
    "Slice", "Split",
)  # fmt: skip
_PARAMETERS_APART = ("int.Table", "int.InterpolatedTable", "Pad", "Slice", "Split", "Gather")
"""Kinds whose inputs after the first are not operands of the same shape."""


def shape_of(graph: Graph, name: str) -> Shape:
    """Return a shape that is known (the pass declines graphs where one is not)."""
    shape = graph.shape(name)
    assert shape is not None
    return shape


def operands(graph: Graph, operation: Operation) -> list[str]:
    """Return the activations that an operation reads."""
    return [name for name in operation.inputs if name and not graph.is_parameter(name)]


def freedom(graph: Graph, operation: Operation) -> Freedom:
    """Return how free an operation is."""
    if operation.kind in SPATIAL_KINDS:
        is_placed = operation.attributes.get("layout") == "NHWC"
        return Freedom.FIXED if is_placed else Freedom.SPATIAL
    if operation.kind in ("Transpose", "Reshape"):
        return Freedom.EDGE
    if operation.kind == "int.ReduceMean":
        return Freedom.FREE if operation.int_attribute("keepdims") else Freedom.EDGE
    if operation.kind == "Gather":
        return Freedom.FREE if len(shape_of(graph, operation.inputs[1])) == 1 else Freedom.FIXED
    kernel = user_kernel(graph, operation)
    if operation.kind not in _FREE_KINDS and not (kernel and kernel.is_elementwise):
        return Freedom.FIXED
    rank = len(shape_of(graph, operation.outputs[0]))
    same_rank = all(len(shape_of(graph, name)) == rank for name in operands(graph, operation))
    return Freedom.FREE if same_rank else Freedom.FIXED


def has_shaped_constants(operation: Operation) -> bool:
    """Whether constant inputs are operands that broadcast with the activations."""
    is_user = operation.kind not in INTEGER_OPERATIONS and operation.kind not in MOVEMENT_OPERATIONS
    return operation.kind not in _PARAMETERS_APART and not is_user


@dataclass(frozen=True, slots=True)
class Demand:
    """Stored forms around one operation: (value, form) it reads, and (value, form) it makes."""

    reads: tuple[tuple[str, Perm], ...]
    makes: tuple[tuple[str, Perm], ...]


def demand(graph: Graph, operation: Operation, form: Callable[[str], Perm]) -> Demand:
    """Return what an operation reads and makes under a labelling.

    Args:
        graph: The graph.
        operation: One of its operations.
        form: The labelling: the form that each value should have.
    """
    kind = freedom(graph, operation)
    read, made = operands(graph, operation), [name for name in operation.outputs if name]
    if kind is Freedom.EDGE:
        return _EDGES[operation.kind](graph, operation, form)
    if kind is Freedom.FREE:
        wanted = form(operation.outputs[0])
        return Demand(tuple((n, wanted) for n in read), tuple((n, wanted) for n in made))
    choose = channels_last if kind is Freedom.SPATIAL else identity
    return Demand(
        tuple((name, choose(len(shape_of(graph, name)))) for name in read),
        tuple((name, choose(len(shape_of(graph, name)))) for name in made),
    )


def _transpose(graph: Graph, operation: Operation, form: Callable[[str], Perm]) -> Demand:
    """A Transpose reads its input in the form in which it is the output already."""
    del graph
    x, y, perm = operation.inputs[0], operation.outputs[0], operation.ints_attribute("perm")
    wanted = form(y)
    return Demand(((x, tuple(perm[axis] for axis in wanted)),), ((y, wanted),))


def _reshape(graph: Graph, operation: Operation, form: Callable[[str], Perm]) -> Demand:
    """A Reshape works on stored forms where it moves no data, else on the logical ones."""
    x, y = operation.inputs[0], operation.outputs[0]
    source, result = shape_of(graph, x), shape_of(graph, y)
    for p in dict.fromkeys((form(x), channels_last(len(source)), identity(len(source)))):
        if is_direct_reshape(source, p, result, form(y)):
            return Demand(((x, p),), ((y, form(y)),))
    return Demand(((x, identity(len(source))),), ((y, identity(len(result))),))


def _mean(graph: Graph, operation: Operation, form: Callable[[str], Perm]) -> Demand:
    """A mean that drops axes keeps the order of the others."""
    del graph
    x, axes = operation.inputs[0], operation.ints_attribute("axes")
    kept = [axis for axis in form(x) if axis not in axes]
    position = {axis: i for i, axis in enumerate(sorted(kept))}
    return Demand(
        ((x, form(x)),), ((operation.outputs[0], tuple(position[axis] for axis in kept)),)
    )


_EDGES: Mapping[str, Callable[[Graph, Operation, Callable[[str], Perm]], Demand]] = {
    "Transpose": _transpose,
    "Reshape": _reshape,
    "int.ReduceMean": _mean,
}
