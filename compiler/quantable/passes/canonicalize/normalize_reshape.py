"""Turn Flatten, Squeeze and Unsqueeze into Reshape, and merge consecutive reshapes.

Before:
    x: f32[N,4,2]
    a = Unsqueeze(x, axes)
    y = Flatten(a) {axis=1}
    axes: i64[1] = [1]
    return y
After:
    x: f32[N,4,2]; y.shape: i64[2] = [-1, 8]
    y = Reshape(x, y.shape)
    return y

Preconditions:
    1. The shape of the result is known up to symbols that Reshape can express: one dimension of -1,
       others that are copied from the same axis.
    2. A reshape that only another one reads is skipped.
    3. A Softmax on the last axis between two reshapes that cancel and keep that axis (the upgrade
       of old opsets makes these) needs neither.

Numerics: bit-exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from quantable.ir import Graph, GraphEditor, Operation
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.rewriting import merged_sources, sole_user
from quantable.passes.canonicalize.shapes.targets import reshape_target

_KINDS = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})


@dataclass(frozen=True)
class NormalizeReshape(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "normalize-reshape"
    summary: ClassVar[str] = "turn Flatten, Squeeze and Unsqueeze into Reshape, and merge those"

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Rewrite in topological order, so that a chain ends as one Reshape."""
        editor = GraphEditor(graph)
        changes = 0
        names = [op.name for op in graph.operations if op.kind in _KINDS]
        for name in context.rewrites.over(editor, names):
            if name not in editor.operations:
                continue
            op = editor.operations[name]
            if _unwrapped(editor, op):
                changes += 1
                continue
            first = editor.producer(op.inputs[0])
            is_chain = first is not None and first.kind == "Reshape"
            start = first if is_chain and sole_user(editor, op.inputs[0]) is op else None
            if op.kind == "Reshape" and start is None:
                continue
            changed = _rewritten(editor, op, start)
            changes += changed
            if not changed and op.kind != "Reshape":
                place = (self.name, op.where(), "stays: its shape has more than one symbol")
                context.remarks.append(place)
        return editor.finish() if changes else graph


def _unwrapped(editor: GraphEditor, op: Operation) -> bool:
    """Take the reshapes around a Softmax away (precondition 3)."""
    softmax = sole_user(editor, op.outputs[0])
    if softmax is None or softmax.kind not in ("LogSoftmax", "Softmax"):
        return False
    last = sole_user(editor, softmax.outputs[0])
    if last is None or last.kind not in _KINDS:
        return False
    outer = editor.values[op.inputs[0]].shape
    inner = editor.values[softmax.inputs[0]].shape
    if not outer or not inner or outer != editor.values[last.outputs[0]].shape:
        return False
    axis = softmax.int_attribute("axis", -1)
    if outer[-1] != inner[-1] or axis not in (-1, len(inner) - 1):
        return False
    editor.remove(op)
    editor.remove(last)
    changed = replace(
        softmax, inputs=(op.inputs[0],), outputs=last.outputs, attributes={"axis": -1},
        sources=merged_sources(op, softmax, last),
    )  # fmt: skip
    editor.replace(changed)
    return True


def _rewritten(editor: GraphEditor, op: Operation, first: Operation | None) -> bool:
    source = op.inputs[0] if first is None else first.inputs[0]
    before, after = editor.values[source].shape, editor.values[op.outputs[0]].shape
    target = None if before is None or after is None else reshape_target(before, after)
    if target is None:
        return False
    shape = editor.add_parameter(f"{op.outputs[0]}.shape", np.array(target, np.int64))
    sources = op.sources if first is None else merged_sources(first, op)
    if first is not None:
        editor.remove(first)
    editor.replace(
        replace(op, kind="Reshape", inputs=(source, shape), attributes={}, sources=sources)
    )
    return True
