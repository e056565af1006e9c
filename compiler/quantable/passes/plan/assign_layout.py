"""Bring convolutions and pools to channels-last, and leave few transposes.

Before:
    x: u8[N, 4, 4, 2] -> Transpose {perm=[0, 3, 1, 2]} -> a: u8[N, 2, 4, 4]
        -> int.MaxPool -> b: u8[N, 2, 2, 2] -> Transpose {perm=[0, 2, 3, 1]} -> y: u8[N, 2, 2, 2]
After:
    x: u8[N, 4, 4, 2] -> int.MaxPool {layout="NHWC"} -> b.nhwc: u8[N, 2, 2, 2]

Every value gets the form in which it is stored, such that the fewest bytes are transposed; axes and
constants of operations follow. A Transpose that only moves axes of length 1 is a Reshape. A value
that is not stored in its logical form is called `<name>.nhwc` (`.nwc` with one spatial axis).

Preconditions:
1. The rank of every value is known; else the pass declines.
2. A Pad before a convolution is merged into it where it pads spatial axes with the zero point.

Numerics: bit-exact.
See: `quantable.passes.plan.labelling`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from quantable.ir import Graph, GraphEditor, Level, Operation
from quantable.passes.base import Pass, PassContext
from quantable.passes.plan.labelling import Labelling
from quantable.passes.plan.layout_rules import SPATIAL_KINDS
from quantable.passes.plan.layout_writer import LayoutWriter
from quantable.passes.plan.layouts import reshape_target
from quantable.passes.plan.static_shapes import pad_extents
from quantable.passes.rewrite_limit import Rewrites


@dataclass(frozen=True)
class AssignLayout(Pass):
    """See the module."""

    name: ClassVar[str] = "assign-layout"
    summary: ClassVar[str] = "bring convolutions and pools to channels-last"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.INTEGER})

    def run(self, graph: Graph, context: PassContext) -> Graph:
        unknown = [n for n, v in graph.values.items() if v.shape is None]
        if unknown:
            context.remarks.append((self.name, f"value '{unknown[0]}'", "its rank is not known"))
            return graph
        rewrites = context.rewrites
        written = _merge_pads(graph, rewrites)
        # The labels of all operations hang together: they are written in one rewrite.
        if rewrites.admit(*(op.name for op in written.operations if op.kind in SPATIAL_KINDS)):
            written = _labelled(written)
        written = _merge_reshapes(written, rewrites)
        return written if _cost(written) < _cost(graph) else graph


def _labelled(graph: Graph) -> Graph:
    writer = LayoutWriter(graph, Labelling(graph))
    for operation in graph.operations:
        writer.add(operation)
    return writer.finish()


def _cost(graph: Graph) -> tuple[int, int, int]:
    """Return what the pass makes less of: operations without a layout, bytes moved, operations."""
    planar = [
        op for op in graph.operations
        if op.kind in SPATIAL_KINDS and "layout" not in op.attributes
    ]  # fmt: skip
    moved = sum(
        math.prod(d for d in y.shape or () if isinstance(d, int)) * y.dtype.bits
        for y in (graph.values[op.outputs[0]] for op in graph.operations if op.kind == "Transpose")
    )
    return len(planar), moved, len(graph.operations)


def _merge_pads(graph: Graph, rewrites: Rewrites) -> Graph:
    """Move a Pad with the zero point into the convolutions that read it (precondition 2)."""
    editor = GraphEditor(graph)
    for pad in rewrites.over(editor, graph.operations):
        is_constant = pad.string_attribute("mode", "constant") == "constant"
        readers = editor.uses(pad.outputs[0]) if pad.kind == "Pad" and is_constant else []
        convs = [
            op for op, slot in readers
            if op.kind == "int.Conv" and slot == 0 and "layout" not in op.attributes
        ]  # fmt: skip
        if not readers or len(convs) != len(readers):
            continue
        shape = graph.shape(pad.inputs[0]) or ()
        constants = {name: graph.array(name) for name in pad.inputs[1:] if name}
        extents = pad_extents(pad, len(shape), constants)
        value = int(constants[pad.inputs[2]].reshape(())) if len(pad.inputs) > 2 else 0
        spatial = extents[2:]
        is_exact = all(conv.int_attribute("x_zero_point") == value for conv in convs)
        if not is_exact or any(map(any, extents[:2])) or any(min(pair) < 0 for pair in spatial):
            continue
        for conv in convs:
            editor.replace(_padded(conv, pad, spatial))
        editor.remove(pad)
    return editor.finish()


def _padded(conv: Operation, pad: Operation, spatial: list[tuple[int, int]]) -> Operation:
    pads = conv.ints_attribute("pads")
    more = [begin for begin, _ in spatial] + [end for _, end in spatial]
    total = tuple(a + b for a, b in zip(pads, more, strict=True))
    return replace(
        conv,
        inputs=(pad.inputs[0], *conv.inputs[1:]),
        attributes={**conv.attributes, "pads": total},
        sources=(*pad.sources, *conv.sources),
    )


def _merge_reshapes(graph: Graph, rewrites: Rewrites) -> Graph:
    """Merge chains of Reshapes, and drop those that change nothing and what nothing reads."""
    editor = GraphEditor(graph)
    reshapes = [op.name for op in graph.operations if op.kind == "Reshape"]
    for name in rewrites.over(editor, reshapes):
        operation = editor.operations[name]
        before = editor.producer(operation.inputs[0])
        source = operation.inputs[0]
        if before is not None and before.kind == "Reshape":
            source = before.inputs[0]
        held, result = editor.values[source].shape, editor.values[operation.outputs[0]].shape
        if held is None or result is None:
            continue
        if held == result:
            editor.replace_uses(operation.outputs[0], source)
            editor.remove(operation)
            continue
        target = reshape_target(held, result)
        if source != operation.inputs[0] and target is not None:
            shape = editor.add_parameter(f"{name}.shape", np.array(target, np.int64))
            editor.replace(replace(operation, inputs=(source, shape), attributes={}))
    for operation in rewrites.over(editor, reversed(list(editor.operations.values()))):
        if not any(editor.uses(out) or out in editor.outputs for out in operation.outputs):
            editor.remove(operation)
    return editor.finish()
