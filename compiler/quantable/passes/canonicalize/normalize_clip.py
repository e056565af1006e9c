"""Bring Clip, Relu, Min and Max with constants into one form.

Before:
    x: f32[N,4]; high: f32[] = 6
    a = Relu(x)
    y = Min(a, high)
    return y
After:
    x: f32[N,4]; y.min: f32[] = 0; y.max: f32[] = 6
    y = Clip(x, y.min, y.max)
    return y

After it, a Clip has two float scalar parameters, min and max, and a Relu stays a Relu.

Preconditions:
    1. The bounds are float scalars and constant; an absent one is the largest finite number.
    2. A Relu or Clip that only another one reads is merged with it.
    3. Bounds of 0 and the largest number are a Relu; no bounds at all are no operation.

Numerics: bit-exact for all finite numbers (an infinity passes where a bound was absent).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from quantable.ir import DType, Graph, GraphEditor, Operation
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.rewriting import (
    bypass,
    merged_sources,
    scalar_parameter,
    sole_user,
)

_LARGEST = float(np.finfo(np.float32).max)
_Bounds = tuple[float, float]
_KINDS = frozenset({"Clip", "Max", "Min", "Relu"})


@dataclass(frozen=True)
class NormalizeClip(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "normalize-clip"
    summary: ClassVar[str] = "bring Clip, Relu, Min and Max with constants into one form"

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Rewrite in topological order, so that a chain ends as one operation."""
        editor = GraphEditor(graph)
        changes = 0
        names = [op.name for op in graph.operations if op.kind in _KINDS]
        for name in context.rewrites.over(editor, names):
            op = editor.operations[name]
            found = _bounds(editor, op)
            if found is None:
                if op.kind == "Clip":
                    context.remarks.append((self.name, op.where(), "stays: bounds are computed"))
                continue
            changes += _rewritten(editor, op, *found)
        return editor.finish() if changes else graph


def _bounds(editor: GraphEditor, op: Operation) -> tuple[str, _Bounds] | None:
    """Return what is clipped and between what (precondition 1)."""
    if editor.values[op.inputs[0]].dtype is not DType.FLOAT32:
        return None
    if op.kind == "Relu":
        return op.inputs[0], (0.0, _LARGEST)
    if op.kind == "Clip":
        low = _bound(editor, op, 1, -_LARGEST)
        high = _bound(editor, op, 2, _LARGEST)
        return None if low is None or high is None else (op.inputs[0], (low, high))
    return _extremum(editor, op)


def _bound(editor: GraphEditor, op: Operation, slot: int, default: float) -> float | None:
    if len(op.inputs) <= slot or not op.inputs[slot]:
        return default
    found = scalar_parameter(editor, op.inputs[slot])
    return None if found is None else min(max(found, -_LARGEST), _LARGEST)


def _extremum(editor: GraphEditor, op: Operation) -> tuple[str, _Bounds] | None:
    """Min or Max of one tensor and one scalar that does not widen its shape."""
    if len(op.inputs) != 2:
        return None
    first, second = op.inputs
    pairs = ((first, second), (second, first))
    for x, other in pairs:
        bound = scalar_parameter(editor, other)
        if bound is None or editor.values[x].shape != editor.values[op.outputs[0]].shape:
            continue
        return x, ((bound, _LARGEST) if op.kind == "Max" else (-_LARGEST, bound))
    return None


def _rewritten(editor: GraphEditor, op: Operation, x: str, bounds: _Bounds) -> bool:
    first = editor.producer(x)
    merged = _merged(editor, first, x, bounds)
    if first is None or merged is None:
        if _is_canonical(editor, op, bounds):
            return False
        sources = op.sources
    else:
        x, bounds, sources = first.inputs[0], merged, merged_sources(first, op)
        editor.remove(first)
    if bounds == (-_LARGEST, _LARGEST) and bypass(editor, replace(op, inputs=(x,)), x):
        return True
    inputs: tuple[str, ...] = (x,)
    kind = "Relu"
    if bounds != (0.0, _LARGEST):
        output = op.outputs[0]
        ends = zip(("min", "max"), bounds, strict=True)
        names = [editor.add_parameter(f"{output}.{n}", np.float32(v)) for n, v in ends]
        inputs, kind = (x, *names), "Clip"
    editor.replace(replace(op, kind=kind, inputs=inputs, attributes={}, sources=sources))
    return True


def _is_canonical(editor: GraphEditor, op: Operation, bounds: _Bounds) -> bool:
    if op.kind == "Relu":
        return True
    is_full = op.kind == "Clip" and len(op.inputs) == 3 and all(op.inputs)
    scalar = is_full and all(editor.values[name].shape == () for name in op.inputs[1:])
    return scalar and bounds != (0.0, _LARGEST) and bounds != (-_LARGEST, _LARGEST)


def _merged(
    editor: GraphEditor, first: Operation | None, x: str, bounds: _Bounds
) -> _Bounds | None:
    """Return the bounds of two clips in a row (precondition 2): the second clips the first's."""
    if first is None or first.kind not in ("Relu", "Clip") or sole_user(editor, x) is None:
        return None
    found = _bounds(editor, first)
    if found is None:
        return None
    low, high = bounds
    return min(max(found[1][0], low), high), min(max(found[1][1], low), high)
