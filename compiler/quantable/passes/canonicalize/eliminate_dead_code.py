"""Remove operations that no output depends on.

Before:
    x: f32[N,4]
    a = Relu(x)
    b = Exp(a)
    y = Neg(x)
    return y
After:
    x: f32[N,4]
    y = Neg(x)
    return y

Preconditions:
    1. No output of the operation is read or is an output of the graph. Graph inputs stay.
    2. A second output that nothing reads (the mask of Dropout, the indices of MaxPool) is dropped
       where it is the last one.

Numerics: bit-exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from quantable.ir import Graph, GraphEditor, Operation
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.rewriting import remove_dead

_OPTIONAL_OUTPUTS = frozenset({"Dropout", "LayerNormalization", "MaxPool"})


@dataclass(frozen=True)
class EliminateDeadCode(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "eliminate-dead-code"
    summary: ClassVar[str] = "remove operations that no output depends on"

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Remove from the end on."""
        editor = GraphEditor(graph)
        changes = 0
        for op in context.rewrites.over(editor, reversed(graph.operations)):
            changes += remove_dead(editor, [op])
        for op in context.rewrites.over(editor, list(editor.operations.values())):
            if op.kind in _OPTIONAL_OUTPUTS:
                changes += _dropped_outputs(editor, op)
        return editor.finish() if changes else graph


def _dropped_outputs(editor: GraphEditor, op: Operation) -> bool:
    kept = list(op.outputs)
    while len(kept) > 1 and not (editor.uses(kept[-1]) or kept[-1] in editor.outputs):
        kept.pop()
    if len(kept) == len(op.outputs):
        return False
    editor.replace(replace(op, outputs=tuple(kept)))
    return True
