"""Pad in an operation of its own what kernels without borders read.

Before (target x86-vnni):
    x: u8[N, 4, 4, 2] -> int.Conv {pads=[1, 1, 1, 1]} -> y: u8[N, 4, 4, 2]
After:
    x: u8[N, 4, 4, 2] -> Pad {[0, 1, 1, 0, 0, 1, 1, 0], 3} -> x.padded: u8[N, 6, 6, 2]
        -> int.Conv {pads=[0, 0, 0, 0]} -> y: u8[N, 4, 4, 2]

A kernel that never looks for a border needs no branch in its loops. What lies in the padding is the
zero point of x.

Preconditions:
1. The target's kernels are made for it.
2. A convolution on 8-bit integers, channels last, that pads; of one group, or of one input and one
   output channel a group.

Numerics: bit-exact.
See: `quantable.passes.plan.assign_layout`, which does the opposite where planes are padded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from quantable.ir import DType, Graph, GraphEditor, Level, Operation
from quantable.passes.base import Pass, PassContext


@dataclass(frozen=True)
class MakePaddingExplicit(Pass):
    """See the module."""

    name: ClassVar[str] = "make-padding-explicit"
    summary: ClassVar[str] = "pad in an operation of its own what kernels without borders read"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.INTEGER})

    def data_digest(self, context: PassContext) -> str:
        return context.target.digest if context.target else ""

    def run(self, graph: Graph, context: PassContext) -> Graph:
        if context.target is None or context.target.kernels.has_borders:
            return graph
        editor = GraphEditor(graph)
        for op in context.rewrites.over(editor, graph.operations):
            if _is_suited(graph, op):
                _pad(editor, op)
        return editor.finish()


def _is_suited(graph: Graph, op: Operation) -> bool:
    if op.kind != "int.Conv" or op.attributes.get("layout") != "NHWC":
        return False
    x, y = graph.values[op.inputs[0]], graph.values[op.outputs[0]]
    if x.shape is None or y.shape is None or not any(op.ints_attribute("pads")):
        return False
    group = op.int_attribute("group", 1)
    return x.dtype is DType.UINT8 and (group == 1 or group == x.shape[-1] == y.shape[-1])


def _pad(editor: GraphEditor, op: Operation) -> None:
    x = editor.values[op.inputs[0]]
    pads = op.ints_attribute("pads")
    rank = len(pads) // 2
    begins, ends = pads[:rank], pads[rank:]
    assert x.shape is not None  # _is_suited
    spatial = [
        dim + begin + end if isinstance(dim, int) else dim
        for dim, begin, end in zip(x.shape[1:-1], begins, ends, strict=True)
    ]
    padded = editor.add_value(f"{x.name}.padded", x.dtype, (x.shape[0], *spatial, x.shape[-1]))
    extents = np.array([0, *begins, 0, 0, *ends, 0], np.int64)
    operands = [
        x.name,
        editor.add_parameter(f"{padded}.pads", extents),
        editor.add_parameter(f"{padded}.value", op.int_attribute("x_zero_point"), x.dtype),
    ]
    name = f"{op.name}.pad"
    editor.add_operation(name, "Pad", operands, [padded], {"mode": "constant"}, sources=[op.name])
    attributes = {**op.attributes, "pads": (0,) * len(pads)}
    editor.replace(replace(op, inputs=(padded, *op.inputs[1:]), attributes=attributes))
