"""Cast integers to real numbers before they are moved, not behind.

Before:
    x: i64[N,3]; shape: i64[4] = [-1, 1, 1, 3]
    a = Reshape(x, shape)
    y = Cast(a) {to=1}
    return y
After:
    x: i64[N,3]; shape: i64[4] = [-1, 1, 1, 3]
    a.cast = Cast(x) {to=1}
    y = Reshape(a.cast, shape)
    return y

Attention masks come as integers, get axes, and become real numbers. What is real is quantized, with
its moves; integers are shapes and indices, which targets without floats do not compute.

Preconditions:
    1. A Cast to float32 is the only reader of an operation that moves integers, and that reads no
       parameter as what it moves.

Numerics: bit-exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from quantable.ir import DType, Graph, GraphEditor, Operation
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.rewriting import sole_user

_MOVING = frozenset({"Expand", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"})


@dataclass(frozen=True)
class HoistCasts(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "hoist-casts"
    summary: ClassVar[str] = "cast integers to real numbers before they are moved"

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """From the last operation on, so that a cast passes a chain of moves in one walk."""
        editor = GraphEditor(graph)
        moved = 0
        for name in [op.name for op in reversed(graph.operations)]:
            op = editor.operations[name]
            if _cast_behind(editor, op) is None:
                continue
            if not context.rewrites.admit(name):
                break
            _swap(editor, op)
            moved += 1
        return editor.finish() if moved else graph


def _cast_behind(editor: GraphEditor, op: Operation) -> Operation | None:
    """Precondition 1: return the Cast."""
    if op.kind not in _MOVING or op.inputs[0] in editor.parameters:
        return None
    cast = sole_user(editor, op.outputs[0])
    is_integer = editor.values[op.inputs[0]].dtype.is_integer
    if cast is None or cast.kind != "Cast" or not is_integer:
        return None
    return cast if editor.values[cast.outputs[0]].dtype is DType.FLOAT32 else None


def _swap(editor: GraphEditor, op: Operation) -> None:
    cast = _cast_behind(editor, op)
    assert cast is not None
    x = op.inputs[0]
    real = editor.add_value(f"{op.outputs[0]}.cast", DType.FLOAT32, editor.values[x].shape)
    output = cast.outputs[0]
    editor.replace(replace(cast, inputs=(x,), outputs=(real,)))
    editor.replace(replace(op, inputs=(real, *op.inputs[1:]), outputs=(output,)))
