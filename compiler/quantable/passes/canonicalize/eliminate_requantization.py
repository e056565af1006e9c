"""Remove quantizers of what lies on their grid already.

Before:
    x: f32[1,4]; target: i64[2] = [2, 2]; s: f32[] = 0.5; z: u8[] = 128
    q = QuantizeLinear(x, s, z)
    a = DequantizeLinear(q, s, z)
    b = Reshape(a, target)
    r = QuantizeLinear(b, s, z)
    c = DequantizeLinear(r, s, z)
    y = Relu(c)
    return y
After:
    x: f32[1,4]; target: i64[2] = [2, 2]; s: f32[] = 0.5; z: u8[] = 128
    q = QuantizeLinear(x, s, z)
    a = DequantizeLinear(q, s, z)
    b = Reshape(a, target)
    y = Relu(b)
    return y

Tools quantize behind every operation; without the pairs behind those that only move elements,
other passes see what lies beside what.

Preconditions:
    1. The tensor comes from a DequantizeLinear of the same constant numbers, directly or through
       operations that only move elements or add zeros. Through those, there is one scale for all.
    2. No scale is so small or so large that a number on the grid would be rounded to another one.
    3. The result is no graph output that would have to be an input or a parameter.

Numerics: bit-exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from quantable.ir import Graph, GraphEditor, Operation
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.quantizer_forms import (
    DEQUANTIZE,
    QUANTIZE,
    Quantizer,
    moves_elements,
    quantizer_of,
)
from quantable.passes.canonicalize.rewriting import bypass, remove_dead


@dataclass(frozen=True)
class EliminateRequantization(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "eliminate-requantization"
    summary: ClassVar[str] = "remove quantizers of what lies on their grid already"

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Walk in topological order, noting which values lie on a grid."""
        editor = GraphEditor(graph)
        removed = 0
        grids: dict[str, Quantizer] = {}
        for before in context.rewrites.over(editor, graph.operations):
            op = editor.operations[before.name]
            if op.kind == DEQUANTIZE:
                found = quantizer_of(editor, op)
                if isinstance(found, str):
                    continue
                source = _on_grid(editor, op, found, grids)
                if source and bypass(editor, op, source):
                    removed += 1
                else:
                    grids[op.outputs[0]] = found
            elif moves_elements(editor, op) and op.inputs[0] in grids:
                grid = grids[op.inputs[0]]
                if grid.axis is None:
                    reals = [n for n in op.outputs if n and editor.values[n].is_real]
                    grids.update(dict.fromkeys(reals, grid))
        if not removed:
            return graph
        remove_dead(editor)
        return editor.finish()


def _on_grid(
    editor: GraphEditor, op: Operation, end: Quantizer, grids: dict[str, Quantizer]
) -> str:
    """Return the tensor that a pair leaves as it is, '' where it does not."""
    begin = editor.producer(op.inputs[0])
    if begin is None or begin.kind != QUANTIZE or not end.is_idempotent:
        return ""
    found = quantizer_of(editor, begin)
    source = begin.inputs[0]
    if isinstance(found, str) or found.key != end.key or source not in grids:
        return ""
    return source if grids[source].key == end.key else ""
