"""Infer the shape of every value, and the elements of small integer ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from quantable.ir import DType, Graph, OperationLibrary, Shape, Value
from quantable.passes.canonicalize.shapes import (
    elementwise,
    indexing,
    matrices,
    microsoft,
    microsoft_attention,
    microsoft_quantized,
    movement,
    windows,
)
from quantable.passes.canonicalize.shapes.site import (
    MOST_ELEMENTS,
    NotInferable,
    ShapeFunction,
    Site,
    Tensor,
    as_elements,
)
from quantable.passes.canonicalize.shapes.symbols import Expression, evaluate
from quantable.passes.canonicalize.shapes.user_operations import user_shape_function

SHAPE_FUNCTIONS: Mapping[str, ShapeFunction] = {
    **elementwise.FUNCTIONS,
    **indexing.FUNCTIONS,
    **matrices.FUNCTIONS,
    **microsoft.FUNCTIONS,
    **microsoft_attention.FUNCTIONS,
    **microsoft_quantized.FUNCTIONS,
    **movement.FUNCTIONS,
    **windows.FUNCTIONS,
}
"""Shape function by operation kind: one for every kind that the frontend imports."""


def shape_function(kind: str, library: OperationLibrary) -> ShapeFunction | None:
    """Return the shape function of a kind, a user's where the library has it."""
    return SHAPE_FUNCTIONS.get(kind) or user_shape_function(kind, library)


@dataclass(frozen=True)
class Inference:
    """What is known of every value of a graph.

    Attributes:
        graph: The graph with refined shapes and types.
        tensors: What is known, by value name; values of unknown rank are left out.
    """

    graph: Graph
    tensors: Mapping[str, Tensor]


def infer(graph: Graph) -> Inference:
    """Infer shapes from the graph's inputs on.

    A reshape whose element counts can only agree for one value of a symbol fixes that symbol: a
    network with a symbolic batch that reshapes to ``[1, 1001]`` has batch 1.

    Raises:
        ModelError: Shapes contradict each other.
    """
    while True:
        tensors, bindings = _walk(graph)
        if not bindings:
            return Inference(_refined(graph, tensors), tensors)
        graph = bind_symbols(graph, bindings)


def bind_symbols(graph: Graph, bindings: Mapping[str, int]) -> Graph:
    """Return the graph with symbolic dimensions replaced by numbers, in every value."""
    fixed = dict(bindings)
    values = {
        name: value if value.shape is None else replace(value, shape=_bound(value.shape, fixed))
        for name, value in graph.values.items()
    }
    return replace(graph, values=values)


def _bound(shape: Shape, bindings: dict[str, int]) -> Shape:
    return tuple(evaluate(dim, bindings) for dim in shape)


def _walk(graph: Graph) -> tuple[dict[str, Tensor], dict[str, int]]:
    tensors: dict[str, Tensor] = {}
    bindings: dict[str, int] = {}
    for name in (*graph.inputs, *graph.parameters):
        value = graph.values[name]
        if value.shape is not None and value.is_tensor:
            sizes = tuple(Expression.of(dim) for dim in value.shape)
            tensors[name] = replace(_parameter(graph, name), sizes=sizes)
    for op in graph.operations:
        inputs = tuple(tensors.get(name) if name else None for name in op.inputs)
        function = shape_function(op.kind, graph.library)
        is_known = all(t is not None for t, name in zip(inputs, op.inputs, strict=True) if name)
        made = (graph.values[name] for name in op.outputs if name)
        if function is None or not is_known or not all(value.is_tensor for value in made):
            tensors.update(_given(graph, op.outputs))
            continue
        site = Site(op, inputs, graph.parameters, graph.store, bindings)
        try:
            found = dict(zip(op.outputs, function(site), strict=True))
        except NotInferable:
            tensors.update(_given(graph, op.outputs))
            continue
        tensors.update({n: _merged(t, graph.values[n]) for n, t in found.items() if n})
    return tensors, bindings


def _given(graph: Graph, names: tuple[str, ...]) -> dict[str, Tensor]:
    """Return what the graph already says of values, where nothing can be inferred."""
    held = [graph.values[name] for name in names if name]
    return {
        v.name: Tensor(v.dtype, tuple(Expression.of(d) for d in v.shape))
        for v in held
        if v.shape is not None and v.is_tensor
    }


def _merged(tensor: Tensor, value: Value) -> Tensor:
    """Take a number or a name that the model states where inference knows nothing."""
    if value.shape is None or len(value.shape) != len(tensor.sizes):
        return tensor
    sizes = tuple(
        Expression.of(stated) if str(size.dim).startswith("?") else size
        for size, stated in zip(tensor.sizes, value.shape, strict=True)
    )
    return replace(tensor, sizes=sizes)


def _parameter(graph: Graph, name: str) -> Tensor:
    value = graph.values[name]
    ref = graph.parameters.get(name)
    is_followed = value.dtype.is_integer or value.dtype is DType.BOOL
    if ref is None or not is_followed or ref.element_count > MOST_ELEMENTS:
        return Tensor(value.dtype, ())
    return Tensor(value.dtype, (), as_elements(graph.store.get(ref)))


def _refined(graph: Graph, tensors: Mapping[str, Tensor]) -> Graph:
    values = dict(graph.values)
    for name, tensor in tensors.items():
        found = Value(name, tensor.dtype, tuple(size.dim for size in tensor.sizes))
        if values[name] != found:
            values[name] = found
    return graph if values == dict(graph.values) else replace(graph, values=values)
