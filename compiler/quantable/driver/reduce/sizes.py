"""Smaller dimensions: every dimension of one size becomes smaller at once.

That equal sizes belong together (a channel count of an activation, the rows of the weight that
makes it, the bias) is a guess; the candidate is run, and dropped unless every value has the shape
that it claims.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from quantable.driver.reduce.case import Array, Bench, Case, is_consistent
from quantable.ir import (
    Attribute,
    ContentRef,
    DType,
    Graph,
    Operation,
    QuantableOperation,
    QuantizationParameters,
    Shape,
)


def smaller_sizes(bench: Bench) -> None:
    """Make every size as small as it can be: 1, else half of it, and half again."""
    for size in _sizes(bench.case.graph):
        now = size
        while isinstance(now, str) or now > 1:
            smaller = [1] if isinstance(now, str) else sorted({1, now // 2, now - 1})
            done = next((s for s in smaller if bench.attempt(_resized(bench.case, now, s))), None)
            if done is None:
                break
            now = done


def _sizes(graph: Graph) -> list[int | str]:
    """Return symbols, then numbers, largest first."""
    found = {dim for value in graph.values.values() for dim in value.shape or ()}
    numbers = sorted((d for d in found if isinstance(d, int) and d > 1), reverse=True)
    return [*sorted(d for d in found if isinstance(d, str)), *numbers]


def _resized(case: Case, old: int | str, new: int) -> Case | None:
    graph = case.graph
    values = {n: replace(v, shape=_shape(v.shape, old, new)) for n, v in graph.values.items()}
    resized = replace(graph, values=values)
    if isinstance(old, int):
        resized = _with_contents(resized, old, new)
    inputs = None
    if case.inputs is not None:
        inputs = {
            name: _cut(array, graph.shape(name) or (), old, new)
            for name, array in case.inputs.items()
        }
    candidate = Case(resized, inputs)
    return candidate if is_consistent(candidate) else None


def _shape(shape: Shape | None, old: int | str, new: int) -> Shape | None:
    return None if shape is None else tuple(new if dim == old else dim for dim in shape)


def _cut(array: Array, shape: Sequence[int | str], old: int | str, new: int) -> Array:
    index = tuple(slice(new) if dim == old else slice(None) for dim in shape)
    return array[index]


def _with_contents(graph: Graph, old: int, new: int) -> Graph:
    def content(ref: ContentRef) -> ContentRef:
        array = graph.store.get(ref)
        if ref.dtype is DType.INT64 and ref.element_count <= _MOST_DIMENSIONS:
            array = array.copy()
            array[array == old] = new  # the target of a Reshape, for instance
        return graph.store.put(_cut(array, ref.shape, old, new), ref.dtype)

    parameters = {name: content(ref) for name, ref in graph.parameters.items()}
    values = dict(graph.values)
    for name, ref in parameters.items():
        values[name] = replace(values[name], shape=ref.shape)
    rows = {name: _row(row, old, new) for name, row in graph.rows.items()}
    operations = []
    for op in graph.operations:
        attributes = {n: _attribute(v, old, new) for n, v in op.attributes.items()}
        operations.append(_operation(replace(op, attributes=attributes), rows, content))
    return replace(
        graph, parameters=parameters, values=values, rows=rows, operations=tuple(operations)
    )


_MOST_DIMENSIONS = 16
_Content = Callable[[ContentRef], ContentRef]


def _attribute(value: Attribute, old: int, new: int) -> Attribute:
    """Cut what is one number a channel; sizes of windows are short lists and stay."""
    is_list = isinstance(value, tuple) and len(value) == old
    if is_list and isinstance(value, tuple) and value and isinstance(value[0], float):
        return value[:new]
    return value


def _row(row: QuantizationParameters, old: int, new: int) -> QuantizationParameters:
    if len(row.scale) != old:
        return row
    return replace(row, scale=row.scale[:new], zero_point=row.zero_point[:new])


def _operation(
    op: Operation, rows: dict[str, QuantizationParameters], content: _Content
) -> Operation:
    if not isinstance(op, QuantableOperation):
        return op
    originals = tuple((slot, content(ref)) for slot, ref in op.originals)
    baked = tuple(
        replace(
            entry, content=content(entry.content),
            row_digest=rows[op.config.inputs[entry.slot].row].digest,
        )
        for entry in op.baked
    )  # fmt: skip
    return replace(op, originals=originals, baked=baked)
