"""Fewer operations, outputs, attributes and words."""

from __future__ import annotations

from dataclasses import replace

from quantable.driver.reduce.case import Bench, Case, is_consistent, live, part
from quantable.driver.reduce.chunks import take_away
from quantable.ir import Graph, GraphEditor, Level
from quantable.passes.row_owners import with_owned_rows


def fewer_operations(bench: Bench) -> None:
    """Cut operations out; what the rest reads of them becomes an input."""
    names = [op.name for op in bench.case.graph.operations]
    take_away(bench, names, _without_operations)


def fewer_steps(bench: Bench) -> None:
    """Replace operations by one of their inputs of the same type and shape."""
    names = [op.name for op in bench.case.graph.operations]
    take_away(bench, names, _bypassed)


def fewer_outputs(bench: Bench) -> None:
    """Drop outputs, and what only they depend on."""
    take_away(bench, list(dict.fromkeys(bench.case.graph.outputs)), _without_outputs)


def fewer_attributes(bench: Bench) -> None:
    """Drop attributes where the network stays consistent without them."""
    found = [(op.name, name) for op in bench.case.graph.operations for name in op.attributes]
    take_away(bench, found, _without_attributes)


def fewer_words(bench: Bench) -> None:
    """Drop the history, the provenance and the metadata."""
    graph = bench.case.graph
    bench.attempt(replace(bench.case, graph=replace(graph, history=())))
    take_away(bench, list(graph.metadata), _without_metadata)
    graph = bench.case.graph
    plain = graph.with_operations(replace(op, sources=()) for op in graph.operations)
    bench.attempt(replace(bench.case, graph=plain))


def _without_operations(case: Case, names: list[str]) -> Case | None:
    return part(case, {op.name for op in case.graph.operations} - set(names))


def _bypassed(case: Case, names: list[str]) -> Case | None:
    editor = GraphEditor(case.graph)
    for name in names:
        op = editor.operations[name]
        output = op.outputs[0]
        alike = [n for n in op.inputs if n and n != output and _are_alike(case.graph, n, output)]
        others = [n for n in op.outputs[1:] if n and (editor.uses(n) or n in editor.outputs)]
        if not alike or others:
            return None
        editor.remove(op)
        editor.replace_uses(output, alike[0])
    graph = editor.finish()
    if graph.level is Level.QUANTABLE:
        graph = with_owned_rows(graph)
    return live(replace(case, graph=graph))


def _are_alike(graph: Graph, a: str, b: str) -> bool:
    first, second = graph.values[a], graph.values[b]
    return (first.dtype, first.shape) == (second.dtype, second.shape)


def _without_outputs(case: Case, names: list[str]) -> Case | None:
    kept = tuple(name for name in case.graph.outputs if name not in names)
    return live(replace(case, graph=replace(case.graph, outputs=kept))) if kept else None


def _without_attributes(case: Case, found: list[tuple[str, str]]) -> Case | None:
    held = {op.name: op for op in case.graph.operations}
    for operation, name in found:
        op = held[operation]
        left = {key: value for key, value in op.attributes.items() if key != name}
        held[operation] = replace(op, attributes=left)
    candidate = replace(case, graph=case.graph.with_operations(held.values()))
    return candidate if is_consistent(candidate) else None


def _without_metadata(case: Case, keys: list[str]) -> Case:
    kept = {key: text for key, text in case.graph.metadata.items() if key not in keys}
    return replace(case, graph=replace(case.graph, metadata=kept))
