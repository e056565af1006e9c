"""Cancel and merge transposes.

Before:
    x: f32[N,4,6,3]
    a = Transpose(x) {perm=[0,3,1,2]}
    b = Relu(a)
    y = Transpose(b) {perm=[0,2,3,1]}
    return y
After:
    x: f32[N,4,6,3]
    y = Relu(x)
    return y

Preconditions:
    1. Two transposes in a row become one; one that moves nothing is removed.
    2. A transpose sinks through an elementwise operation of which all computed operands are
       transposed in the same way (at least two of them), its parameters are scalars or are permuted
       with it; nothing else reads what was transposed.
    3. With one computed operand it sinks only where a chain of such operations ends in another
       transpose.

Numerics: bit-exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from quantable.ir import Graph, GraphEditor, Operation
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.rewriting import bypass, merged_sources, sole_user

_Perm = tuple[int, ...]
_ELEMENTWISE = frozenset(
    """Abs Add Cast Ceil Celu Clip Cos Div Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu
    Log Mish Mul Neg PRelu Pow Reciprocal Relu Round Selu Sigmoid Sign Sin Softplus Softsign Sqrt
    Sub Tanh ThresholdedRelu""".split()  # noqa: SIM905 - a table of words reads better
)


@dataclass(frozen=True)
class EliminateTransposes(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "eliminate-transposes"
    summary: ClassVar[str] = "cancel and merge transposes"

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Rewrite until nothing changes; every step removes a transpose or moves one down."""
        editor = GraphEditor(graph)
        changes = 0
        while not context.rewrites.is_exhausted and _first_step(editor):
            changes += 1
            context.rewrites.admit(*editor.journal)
            editor.journal.clear()
        return editor.finish() if changes else graph


def _first_step(editor: GraphEditor) -> bool:
    return any(_step(editor, op) for op in list(editor.operations.values()))


def _step(editor: GraphEditor, op: Operation) -> bool:
    if op.name not in editor.operations:
        return False
    if op.kind == "Transpose":
        return _merged(editor, op)
    return op.kind in _ELEMENTWISE and _sunk(editor, op)


def _perm(editor: GraphEditor, op: Operation) -> _Perm:
    rank = len(editor.values[op.outputs[0]].shape or ())
    return op.ints_attribute("perm") or tuple(range(rank))[::-1]


def _merged(editor: GraphEditor, op: Operation) -> bool:
    """Precondition 1."""
    perm = _perm(editor, op)
    if perm == tuple(range(len(perm))):
        return bypass(editor, op, op.inputs[0])
    first = editor.producer(op.inputs[0])
    if first is None or first.kind != "Transpose":
        return False
    before = _perm(editor, first)
    composed = tuple(before[axis] for axis in perm)
    only_here = sole_user(editor, first.outputs[0]) is not None
    if only_here:
        editor.remove(first)
    editor.replace(
        replace(op, inputs=(first.inputs[0],), attributes={"perm": composed},
                sources=merged_sources(first, op))
    )  # fmt: skip
    return True


def _sunk(editor: GraphEditor, op: Operation) -> bool:
    """Preconditions 2 and 3."""
    computed = [name for name in op.inputs if name and name not in editor.parameters]
    above = [editor.producer(name) for name in computed]
    if not above or any(t is None or t.kind != "Transpose" for t in above):
        return False
    transposes = list({t.name: t for t in above if t is not None}.values())
    perms = {_perm(editor, t) for t in transposes}
    readers = {use.name for name in computed for use, _ in editor.uses(name)}
    if len(perms) != 1 or readers != {op.name} or set(computed) & set(editor.outputs):
        return False
    perm = perms.pop()
    if len(transposes) < 2 and not _ends_in_transpose(editor, op):
        return False
    shapes = {editor.values[name].shape for name in (*computed, op.outputs[0])}
    if len(shapes) != 1 or not _parameters_follow(editor, op, len(perm)):
        return False
    _sink(editor, op, transposes, perm)
    return True


def _ends_in_transpose(editor: GraphEditor, op: Operation) -> bool:
    reader: Operation | None = op
    while reader is not None and reader.kind in _ELEMENTWISE:
        others = [n for n in reader.inputs if n and n not in editor.parameters]
        if len(set(others)) != 1 or len(reader.outputs) != 1:
            return False
        if not _parameters_follow(
            editor, reader, len(editor.values[reader.outputs[0]].shape or ())
        ):
            return False
        reader = sole_user(editor, reader.outputs[0])
    return reader is not None and reader.kind == "Transpose"


def _parameters_follow(editor: GraphEditor, op: Operation, rank: int) -> bool:
    shapes = [editor.values[n].shape or () for n in op.inputs if n in editor.parameters]
    return all(len(shape) <= rank for shape in shapes)


def _sink(editor: GraphEditor, op: Operation, transposes: list[Operation], perm: _Perm) -> None:
    inverse = tuple(int(axis) for axis in np.argsort(perm))
    sources = {t.outputs[0]: t.inputs[0] for t in transposes}
    output = op.outputs[0]
    inputs = []
    for name in op.inputs:
        moved = name in editor.parameters and editor.parameters[name].element_count > 1
        inputs.append(_permuted(editor, name, inverse) if moved else sources.get(name, name))
    shape = editor.values[sources[transposes[0].outputs[0]]].shape
    inner = editor.add_value(f"{output}.transposed", editor.values[output].dtype, shape)
    for transpose in transposes[1:]:
        editor.remove(transpose)
    editor.replace(replace(op, inputs=tuple(inputs), outputs=(inner,)))
    editor.replace(
        replace(transposes[0], inputs=(inner,), outputs=(output,), attributes={"perm": perm},
                sources=merged_sources(*transposes))
    )  # fmt: skip


def _permuted(editor: GraphEditor, name: str, inverse: _Perm) -> str:
    held = editor.array(name)
    full = held.reshape((1,) * (len(inverse) - held.ndim) + held.shape)
    turned = np.ascontiguousarray(full.transpose(inverse))
    return editor.add_parameter(f"{name}.transposed", turned)
