"""Write masks of attention as sums with finite numbers.

Before:
    x: f32[N,3]; c: bool[3] = [1, 0, 0]; low: f32[] = -Infinity
    a = Where(c, low, x)
    y = Softmax(a) {axis=-1}
    return y
After:
    x: f32[N,3]; a.mask: f32[3] = [-3.4028234663852886e+38, 0, 0]
    a = Add(x, a.mask)
    y = Softmax(a) {axis=-1}
    return y

No grid of integers has an infinity, and neither has a histogram; a sum of two tensors has integer
forms where a choice between them has none.

Preconditions:
    1. A parameter with -inf is the addend of an Add, or a choice of a Where, whose only reader is a
       Softmax. The constant may go there through operations that move elements alone, and through
       a Where between constants of a mask that is computed.
    2. It holds no NaN and no +inf, and nothing else reads it.
    3. A Where with a constant condition, between such a number (at most -2**100) and a tensor,
       whose only readers are Softmax, becomes a sum, which is that number for all that is less than
       2**76 in magnitude.

Numerics: real-equal (a Softmax gives 0 for either, as long as one element of the row is not masked;
where all are, it gives equal numbers instead of NaN).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from quantable.ir import Graph, GraphEditor, Operation
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.rewriting import (
    is_float_parameter,
    scalar_parameter,
)

_MASKED = -(2.0**100)
_LEAST = float(np.finfo(np.float32).min)
_MOVING = frozenset({"Expand", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze", "Where"})


@dataclass(frozen=True)
class BoundMasks(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "bound-masks"
    summary: ClassVar[str] = "write masks of attention as sums with finite numbers"

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
        for op in context.rewrites.over(editor, list(editor.operations.values())):
            changed += op.kind == "Where" and _made_sum(editor, op)
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


def _made_sum(editor: GraphEditor, op: Operation) -> bool:
    """Precondition 3."""
    condition, chosen, other = op.inputs
    readers = [reader.kind for reader, _ in editor.uses(op.outputs[0])]
    if condition not in editor.parameters or op.outputs[0] in editor.outputs:
        return False
    if not readers or set(readers) != {"Softmax"}:
        return False
    if other in editor.parameters:
        chosen, other, where = other, chosen, np.logical_not(editor.array(condition))
    else:
        where = editor.array(condition)
    number = scalar_parameter(editor, chosen)
    shapes = [editor.values[name].shape for name in (other, op.outputs[0])]
    if number is None or number > _MASKED or shapes[0] is None or shapes[0] != shapes[1]:
        return False
    mask = np.where(where, np.float32(number), np.float32(0.0)).astype(np.float32)
    name = editor.add_parameter(f"{op.outputs[0]}.mask", mask)
    editor.replace(replace(op, kind="Add", inputs=(other, name), attributes={}))
    return True
