"""Turn division by and subtraction of constants into Mul and Add, with the constant second.

Before:
    x: f32[N,2]; d: f32[2] = [2, 4]; s: f32[] = 3
    a = Div(x, d)
    y = Sub(a, s)
    return y
After:
    x: f32[N,2]; a.reciprocal: f32[2] = [0.5, 0.25]; y.negative: f32[] = -3
    a = Mul(x, a.reciprocal)
    y = Add(a, y.negative)
    return y

Preconditions:
    1. The second operand is a float parameter; of Div, no element is 0 or has a reciprocal that is
       not finite.
    2. Add and Mul with the parameter first: the operands change places.

Numerics: real-equal; bit-exact for Sub and for Div by powers of two. The reciprocal is rounded to
float32 once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from quantable.ir import Graph, GraphEditor, Operation
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.rewriting import is_float, rewritten


@dataclass(frozen=True)
class NormalizeElementwise(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "normalize-elementwise"
    summary: ClassVar[str] = "turn division by and subtraction of constants into Mul and Add"

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Rewrite each operation where it stands."""
        return rewritten(graph, context, self.name, ("Add", "Mul", "Div", "Sub"), _normalized)


def _normalized(editor: GraphEditor, op: Operation) -> str | None:
    if op.kind in ("Add", "Mul"):
        return _ordered(editor, op)
    if op.inputs[1] not in editor.parameters:
        return None
    is_done = is_float(editor, op.inputs[1]) and _inverted(editor, op)
    return "" if is_done else "the constant has no float inverse"


def _ordered(editor: GraphEditor, op: Operation) -> str | None:
    """Precondition 2."""
    first, second = op.inputs
    if first not in editor.parameters or second in editor.parameters:
        return None
    editor.replace(replace(op, inputs=(second, first)))
    return ""


def _inverted(editor: GraphEditor, op: Operation) -> bool:
    """Precondition 1."""
    held = editor.array(op.inputs[1])
    kind, role = ("Mul", "reciprocal") if op.kind == "Div" else ("Add", "negative")
    if op.kind == "Div":
        with np.errstate(divide="ignore", over="ignore"):
            inverse = (1.0 / held.astype(np.float64)).astype(held.dtype)
    else:
        inverse = np.negative(held.astype(np.float64)).astype(held.dtype)
    if not np.isfinite(inverse).all():
        return False
    parameter = editor.add_parameter(f"{op.outputs[0]}.{role}", inverse)
    editor.replace(replace(op, kind=kind, inputs=(op.inputs[0], parameter)))
    return True
