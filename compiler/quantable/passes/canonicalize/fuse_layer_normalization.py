"""Replace a layer normalization that is written out by one operation.

Before:
    x: f32[N,3,4]; axes: i64[1] = [-1]; two: f32[] = 2; eps: f32[] = 0.5; g: f32[4] = [1, 2, 3, 4]
    b: f32[4] = [4, 3, 2, 1]
    m = ReduceMean(x, axes) {keepdims=1}
    d = Sub(x, m)
    p = Pow(d, two)
    v = ReduceMean(p, axes) {keepdims=1}
    e = Add(v, eps)
    s = Sqrt(e)
    n = Div(d, s)
    h = Mul(n, g)
    y = Add(h, b)
    return y
After:
    x: f32[N,3,4]; g: f32[4] = [1, 2, 3, 4]; b: f32[4] = [4, 3, 2, 1]
    y = LayerNormalization(x, g, b) {axis=-1 epsilon=0.5}
    return y

Preconditions:
    1. The mean over one axis of known length is subtracted, and the result is divided by the root
       of the mean of its squares plus a positive constant. The square may be a product, the
       division a product with a Reciprocal.
    2. Nothing else reads what lies between, and no output is among it.
    3. Products with and sums of constants along that axis behind it become scale and shift.
    4. Another axis than the last one is moved there by a Transpose before, and back behind.

Numerics: real-equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from quantable.ir import Graph, GraphEditor, Operation
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.rewriting import (
    integers_parameter,
    merged_sources,
    rewritten,
    scalar_parameter,
    sole_user,
)


@dataclass(frozen=True)
class FuseLayerNormalization(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "fuse-layer-normalization"
    summary: ClassVar[str] = "replace a layer normalization that is written out by one operation"

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Start from every Sub."""
        return rewritten(graph, context, self.name, ("Sub",), _fused)


@dataclass(frozen=True)
class _Found:
    """A normalization: what it is made of in order, and what it computes. Scale and shift are names
    of parameters along the axis, empty where there are none."""

    parts: tuple[Operation, ...]
    x: str
    axis: int
    size: int
    epsilon: float
    scale: str
    shift: str


def _fused(editor: GraphEditor, centred: Operation) -> str | None:
    found = _found(editor, centred)
    if found is None:
        return None
    _replace(editor, found)
    return ""


def _found(editor: GraphEditor, centred: Operation) -> _Found | None:
    """Preconditions 1 and 2."""
    mean = editor.producer(centred.inputs[1])
    x = centred.inputs[0]
    axis = None if mean is None or mean.inputs[0] != x else _mean_axis(editor, mean)
    if mean is None or axis is None or sole_user(editor, mean.outputs[0]) is None:
        return None
    deviation = _deviation(editor, centred.outputs[0], axis)
    shape = editor.values[x].shape
    if deviation is None or shape is None or not isinstance(shape[axis], int):
        return None
    inner, epsilon = deviation
    size = int(shape[axis])
    behind, scale, shift = _affine(editor, inner[-1], axis - len(shape))
    parts = (mean, centred, *inner, *behind)
    return _Found(parts, x, axis, size, epsilon, scale, shift)


def _mean_axis(editor: GraphEditor, mean: Operation) -> int | None:
    """Return the one axis of a mean that keeps its rank, counted from the first."""
    shape = editor.values[mean.inputs[0]].shape
    if mean.kind != "ReduceMean" or shape is None or not mean.int_attribute("keepdims", 1):
        return None
    held = integers_parameter(editor, mean.inputs[1]) if len(mean.inputs) > 1 else None
    return held[0] % len(shape) if held is not None and len(held) == 1 else None


def _deviation(
    editor: GraphEditor, centred: str, axis: int
) -> tuple[tuple[Operation, ...], float] | None:
    """Return the operations from the square to the division, and epsilon."""
    square = _square(editor, centred)
    mean = None if square is None else sole_user(editor, square.outputs[0])
    if square is None or mean is None or _mean_axis(editor, mean) != axis:
        return None
    plus = sole_user(editor, mean.outputs[0])
    epsilon = None if plus is None or plus.kind != "Add" else _other_scalar(editor, plus, mean)
    root = None if plus is None else sole_user(editor, plus.outputs[0])
    if plus is None or epsilon is None or root is None or root.kind != "Sqrt" or epsilon <= 0:
        return None
    inner = [square, mean, plus, root]
    last = sole_user(editor, root.outputs[0])
    if last is not None and last.kind == "Reciprocal":
        inner.append(last)
        last = sole_user(editor, last.outputs[0])
        expected = "Mul"
    else:
        expected = "Div"
    if last is None or last.kind != expected:
        return None
    operands = [centred, inner[-1].outputs[0]]
    is_same = list(last.inputs) == operands or (
        expected == "Mul" and list(last.inputs) == operands[::-1]
    )
    readers = {op.name for op, _ in editor.uses(centred)}
    if not is_same or readers != {square.name, last.name} or centred in editor.outputs:
        return None
    return (*inner, last), epsilon


def _square(editor: GraphEditor, value: str) -> Operation | None:
    for op, _ in editor.uses(value):
        power = scalar_parameter(editor, op.inputs[1]) if op.kind == "Pow" else None
        if power == 2.0 or (op.kind == "Mul" and tuple(op.inputs) == (value, value)):
            return op
    return None


def _other_scalar(editor: GraphEditor, plus: Operation, made: Operation) -> float | None:
    (other,) = [name for name in plus.inputs if name != made.outputs[0]] or [""]
    return scalar_parameter(editor, other)


def _affine(
    editor: GraphEditor, last: Operation, axis: int
) -> tuple[tuple[Operation, ...], str, str]:
    """Precondition 3: return the operations behind, scale and shift."""
    behind, found = [], {}
    for kind in ("Mul", "Add"):
        op = sole_user(editor, last.outputs[0])
        found[kind] = "" if op is None else _along(editor, op, kind, last, axis)
        if op is not None and found[kind]:
            behind.append(op)
            last = op
    return tuple(behind), found["Mul"], found["Add"]


def _along(editor: GraphEditor, op: Operation, kind: str, before: Operation, axis: int) -> str:
    """Return the constant operand that lies along the axis (counted from behind) alone."""
    made = before.outputs[0]
    (other,) = [name for name in op.inputs if name != made] or [""]
    ref = editor.parameters.get(other)
    is_widened = editor.values[op.outputs[0]].shape != editor.values[made].shape
    if op.kind != kind or ref is None or is_widened:
        return ""
    long = [i - len(ref.shape) for i, dim in enumerate(ref.shape) if dim != 1]
    return other if long in ([], [axis]) else ""


def _vector(editor: GraphEditor, name: str, size: int, hint: str) -> str:
    """Return the name of a parameter [size] with the contents of another one, or ones."""
    if not name:
        return editor.add_parameter(hint, np.ones(size, np.float32))
    held = editor.array(name)
    if held.shape == (size,):
        return name
    vector = np.broadcast_to(held.reshape(-1), (size,))
    return editor.add_parameter(hint, np.ascontiguousarray(vector))


def _replace(editor: GraphEditor, found: _Found) -> None:
    output = found.parts[-1].outputs[0]
    rank = len(editor.values[found.x].shape or ())
    for part in found.parts:
        editor.remove(part)
    sources, name = merged_sources(*found.parts), found.parts[-1].name
    inputs = [found.x, _vector(editor, found.scale, found.size, f"{output}.scale")]
    if found.shift:
        inputs.append(_vector(editor, found.shift, found.size, f"{output}.shift"))
    attributes: dict[str, int | float] = {"axis": -1, "epsilon": found.epsilon}
    if found.axis == rank - 1:
        editor.add_operation(name, "LayerNormalization", inputs, [output], attributes, sources)
        return
    perm = (*(i for i in range(rank) if i != found.axis), found.axis)
    inverse = tuple(int(i) for i in np.argsort(perm))
    shape, dtype = editor.values[found.x].shape or (), editor.values[found.x].dtype
    moved = tuple(shape[i] for i in perm)
    before = editor.add_value(f"{output}.moved", dtype, moved)
    made = editor.add_value(f"{output}.normalized", dtype, moved)
    editor.add_operation(f"{name}.move", "Transpose", [found.x], [before], {"perm": perm}, sources)
    editor.add_operation(
        name, "LayerNormalization", [before, *inputs[1:]], [made], attributes, sources
    )
    editor.add_operation(f"{name}.back", "Transpose", [made], [output], {"perm": inverse}, sources)
