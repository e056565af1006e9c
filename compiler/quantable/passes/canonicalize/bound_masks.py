"""Write the infinities of attention masks as the least finite number.

Before:
    x: f32[N,3]; c: bool[3] = [1, 0, 0]; low: f32[] = -Infinity
    a = Where(c, low, x)
    y = Softmax(a) {axis=-1}
    return y
After:
    x: f32[N,3]; c: bool[3] = [1, 0, 0]; low: f32[] = -3.4028234663852886e+38
    a = Where(c, low, x)
    y = Softmax(a) {axis=-1}
    return y

No grid of integers has an infinity, and neither has a histogram.

Preconditions:
    1. A parameter with -inf is the addend of an Add, or a choice of a Where, whose only reader is a
       Softmax. The constant may go there through operations that move elements alone, and through
       a Where between constants of a mask that is computed.
    2. It holds no NaN and no +inf, and nothing else reads it.

Numerics: real-equal (a Softmax gives 0 for either, as long as one element of the row is not masked;
where all are, it gives equal numbers instead of NaN).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from quantable.ir import Graph, GraphEditor, Operation
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.rewriting import is_float_parameter

_LEAST = float(np.finfo(np.float32).min)
_MOVING = frozenset({"Expand", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze", "Where"})


@dataclass(frozen=True)
class BoundMasks(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "bound-masks"
    summary: ClassVar[str] = "write the infinities of attention masks as the least finite number"

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Start from every parameter with an infinity."""
        editor = GraphEditor(graph)
        changed = 0
        for name in [name for name in graph.parameters if _is_mask(editor, name)]:
            readers = [op for op, _ in editor.uses(name)]
            if not context.rewrites.admit(*(op.name for op in readers)):
                break
            bounded = np.maximum(editor.array(name), np.float32(_LEAST))
            editor.make_parameter(name, bounded)
            changed += 1
        return editor.finish() if changed else graph


def _is_mask(editor: GraphEditor, name: str) -> bool:
    if not is_float_parameter(editor, name) or name in editor.outputs:
        return False
    array = editor.array(name).astype(np.float64)
    if np.isnan(array).any() or (array == np.inf).any() or not (array == -np.inf).any():
        return False
    return all(_ends_in_softmax(editor, op) for op, _ in editor.uses(name))


def _ends_in_softmax(editor: GraphEditor, op: Operation) -> bool:
    """Precondition 1."""
    value = op.outputs[0]
    readers = [reader for reader, _ in editor.uses(value)]
    if not readers or value in editor.outputs:
        return False
    if op.kind in ("Add", "Where") and all(reader.kind == "Softmax" for reader in readers):
        return True
    return op.kind in _MOVING and all(_ends_in_softmax(editor, reader) for reader in readers)
