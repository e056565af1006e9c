"""Simpler contents: zeros, one number, few numbers; of parameters and of inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from quantable.driver.reduce.case import Array, Bench, Case
from quantable.driver.reduce.chunks import take_away
from quantable.ir import ContentRef, DType, Graph, QuantableOperation

Change = Callable[[Array], Array]


def simpler_values(bench: Bench) -> None:
    """Simplify parameters, then the inputs' data; the simplest form that works stays."""
    for change in (_zeros, _splat, _few):
        names = [n for n in bench.case.graph.parameters if _is_arithmetic(bench.case.graph, n)]
        take_away(bench, names, _parameters(change))
        take_away(bench, list(bench.case.inputs or {}), _inputs(change))


def _zeros(array: Array) -> Array:
    return np.zeros_like(array)


def _splat(array: Array) -> Array:
    """Every element becomes the one of the largest magnitude."""
    flat = array.reshape(-1)
    if not flat.size or not np.issubdtype(array.dtype, np.number):
        return array
    magnitude = np.abs(flat.astype(np.float64))
    return np.full_like(array, flat[int(np.argmax(magnitude))])


def _few(array: Array) -> Array:
    """Round to powers of two: a float32 array has few of them."""
    if not np.issubdtype(array.dtype, np.floating):
        return array
    wide = array.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        powers = np.sign(wide) * np.exp2(np.rint(np.log2(np.abs(wide))))
    return np.where(np.isfinite(powers), powers, wide).astype(array.dtype)


def _is_arithmetic(graph: Graph, name: str) -> bool:
    """Whether a parameter is no shape, index or axis."""
    dtype = graph.values[name].dtype
    is_pattern = dtype.is_float and not np.issubdtype(dtype.numpy, np.floating)
    return not is_pattern and dtype not in (DType.INT64, DType.STRING)


def _parameters(change: Change) -> Callable[[Case, Sequence[str]], Case]:
    def without(case: Case, names: Sequence[str]) -> Case:
        graph = case.graph
        chosen = set(names)

        def changed(ref: ContentRef) -> ContentRef:
            return graph.store.put(change(graph.store.get(ref)), ref.dtype)

        parameters = {n: changed(r) if n in chosen else r for n, r in graph.parameters.items()}
        operations = [
            _with_contents(op, chosen, changed)
            for op in graph.quantable_operations
            if chosen.intersection(op.inputs)
        ]
        simpler = replace(graph.with_operations(operations), parameters=parameters)
        return replace(case, graph=simpler)

    return without


def _with_contents(
    op: QuantableOperation, names: set[str], changed: Callable[[ContentRef], ContentRef]
) -> QuantableOperation:
    """Change what an operation holds of its parameters: the originals, the baked integers."""
    slots = {slot for slot, name in enumerate(op.inputs) if name in names}
    originals = tuple((s, changed(ref) if s in slots else ref) for s, ref in op.originals)
    baked = tuple(
        replace(entry, content=changed(entry.content)) if entry.slot in slots else entry
        for entry in op.baked
    )
    return replace(op, originals=originals, baked=baked)


def _inputs(change: Change) -> Callable[[Case, Sequence[str]], Case]:
    def without(case: Case, names: Sequence[str]) -> Case:
        held = dict(case.inputs or {})
        return replace(case, inputs=held | {name: change(held[name]) for name in names})

    return without
