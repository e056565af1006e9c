"""Remove operations that return their input.

Before:
    x: f32[N,4]; target: i64[2] = [-1, 4]
    a = Identity(x)
    b = Reshape(a, target)
    y = Relu(b)
    return y
After:
    x: f32[N,4]
    y = Relu(x)
    return y

Preconditions:
    1. The kind returns its input under the conditions of the table below: Identity, Dropout for
       inference without a mask, Cast to the same type, a reshape or an expansion to the same shape,
       Concat and Sum of one tensor, Pad by nothing, Slice of everything, Mul and Div by 1 of the
       same shape.
    2. The result is no graph output that would have to be an input or a parameter.

Numerics: bit-exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from quantable.ir import Graph, GraphEditor, Operation
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.rewriting import (
    bypass,
    integers_parameter,
    remove_dead,
    scalar_parameter,
)

_Rule = Callable[[GraphEditor, Operation], bool]


@dataclass(frozen=True)
class EliminateIdentity(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "eliminate-identity"
    summary: ClassVar[str] = "remove operations that return their input"

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Bypass every operation that the table calls an identity."""
        editor = GraphEditor(graph)
        removed = 0
        for name in context.rewrites.over(editor, [op.name for op in graph.operations]):
            op = editor.operations[name]
            rule = _RULES.get(op.kind)
            if rule is not None and rule(editor, op):
                removed += bypass(editor, op, op.inputs[0])
        if not removed:
            return graph
        remove_dead(editor)
        return editor.finish()


def _always(editor: GraphEditor, op: Operation) -> bool:
    del editor, op
    return True


def _same_shape(editor: GraphEditor, op: Operation) -> bool:
    before, after = editor.values[op.inputs[0]].shape, editor.values[op.outputs[0]].shape
    return before is not None and before == after


def _dropout(editor: GraphEditor, op: Operation) -> bool:
    training = op.inputs[2] if len(op.inputs) > 2 else ""
    if training and (training not in editor.parameters or editor.array(training).any()):
        return False
    return len(op.outputs) == 1 or not (
        editor.uses(op.outputs[1]) or op.outputs[1] in editor.outputs
    )


def _same_type(editor: GraphEditor, op: Operation) -> bool:
    return editor.values[op.inputs[0]].dtype is editor.values[op.outputs[0]].dtype


def _one_input(editor: GraphEditor, op: Operation) -> bool:
    del editor
    return len(op.inputs) == 1


def _no_pads(editor: GraphEditor, op: Operation) -> bool:
    pads = integers_parameter(editor, op.inputs[1])
    return pads is not None and not any(pads)


def _whole(editor: GraphEditor, op: Operation) -> bool:
    steps: tuple[int, ...] = (1,)
    if len(op.inputs) > 4:
        found = integers_parameter(editor, op.inputs[4])
        steps = found if found is not None else (0,)
    return set(steps) == {1} and _same_shape(editor, op)


def _by_one(editor: GraphEditor, op: Operation) -> bool:
    return scalar_parameter(editor, op.inputs[1]) == 1.0 and _same_shape(editor, op)


def _no_permutation(editor: GraphEditor, op: Operation) -> bool:
    del editor
    perm = op.ints_attribute("perm")
    return bool(perm) and bool(np.array_equal(perm, range(len(perm))))


_RULES: dict[str, _Rule] = {
    "Cast": _same_type,
    "Concat": _one_input,
    "Div": _by_one,
    "Dropout": _dropout,
    "Expand": _same_shape,
    "Flatten": _same_shape,
    "Identity": _always,
    "Max": _one_input,
    "Mean": _one_input,
    "Min": _one_input,
    "Mul": _by_one,
    "Pad": _no_pads,
    "Reshape": _same_shape,
    "Slice": _whole,
    "Squeeze": _same_shape,
    "Sum": _one_input,
    "Tile": _same_shape,
    "Transpose": _no_permutation,
    "Unsqueeze": _same_shape,
}
"""When an operation of a kind returns its first input."""
