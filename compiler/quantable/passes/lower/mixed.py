"""A lowering that was stopped: the first operations are integer ones, the rest stays quantable.

The values that pass from one side to the other are dequantized in between. The graph stays at the
quantable level; the reference runtime runs it, and it computes what the integer operations and the
simulation of the rest compute.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from quantable.ir import Graph, GraphEditor
from quantable.passes.row_owners import with_owned_rows
from quantable.passes.subgraph import subgraph


def mixed(graph: Graph, names: Collection[str], lower: Callable[[Graph], Graph]) -> Graph:
    """Return a graph of which only some operations are lowered.

    Args:
        graph: A quantable graph.
        names: The operations to lower; with each, all that it depends on.
        lower: Lowers a whole graph; its outputs stay float under their names.
    """
    if not names:
        return graph
    part = lower(subgraph(graph, names))
    editor = GraphEditor(graph)
    for op in [op for op in graph.operations if op.name in names]:
        editor.remove(op)
    # Inside the part, a name that the rest has too stands for integers: it gets another one.
    borders = {*part.inputs, *part.outputs}
    renamed = {n: n if n in borders else editor.fresh_name(n) for n in part.values}
    for name, value in part.values.items():
        editor.values[renamed[name]] = replace(value, name=renamed[name])
        if name in part.parameters:
            editor.parameters[renamed[name]] = part.parameters[name]
    for op in part.operations:
        inputs = [renamed[name] for name in op.inputs]
        outputs = [renamed[name] for name in op.outputs]
        editor.add_operation(op.name, op.kind, inputs, outputs, op.attributes, op.sources)
    return with_owned_rows(editor.finish())
