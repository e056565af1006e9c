"""Give every consumer of a parameter its own copy.

Before:
    x: f32[N,2]; w: f32[2] = [1, 2]
    a = Mul(x, w)
    y = Add(a, w)
    return y
After:
    x: f32[N,2]; w: f32[2] = [1, 2]; w.1: f32[2] = [1, 2]
    a = Mul(x, w)
    y = Add(a, w.1)
    return y

Preconditions:
    1. More than one input slot reads the parameter. The first one keeps it; the contents are
       stored once, a copy is a name.

Numerics: bit-exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from quantable.ir import Graph, GraphEditor
from quantable.passes.base import Pass, PassContext


@dataclass(frozen=True)
class UnshareParameters(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "unshare-parameters"
    summary: ClassVar[str] = "give every consumer of a parameter its own copy"

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Copy for every use but the first, in topological order."""
        editor = GraphEditor(graph)
        copies = 0
        for parameter, ref in graph.parameters.items():
            uses = graph.uses(parameter)[1:]
            for operation, slot in context.rewrites.over(editor, uses):
                copy = editor.add_value(parameter, ref.dtype, ref.shape)
                editor.parameters[copy] = ref
                current = editor.operations[operation.name]
                inputs = tuple(copy if i == slot else n for i, n in enumerate(current.inputs))
                editor.replace(replace(current, inputs=inputs))
                copies += 1
        return editor.finish() if copies else graph
