"""Write operations on integers that bring their scales along as real ones between quantizers.

Before:
    x: u8[1,1,2,2]; w: i8[1,1,1,1] = [[[[3]]]]; b: i32[1] = [7]; s: f32[] = 0.5; z: u8[] = 128
    t: f32[1] = [0.25]; u: i8[1] = [0]; r: f32[] = 2; v: u8[] = 100
    y = QLinearConv(x, s, z, w, t, u, r, v, b)
    return y
After:
    x: u8[1,1,2,2]; w: i8[1,1,1,1] = [[[[3]]]]; b: i32[1] = [7]; s: f32[] = 0.5; z: u8[] = 128
    t: f32[1] = [0.25]; u: i8[1] = [0]; r: f32[] = 2; v: u8[] = 100; y.bias_scale: f32[1] = [0.125]
    y.in0 = DequantizeLinear(x, s, z)
    y.in1 = DequantizeLinear(w, t, u) {axis=0}
    y.in2 = DequantizeLinear(b, y.bias_scale) {axis=0}
    y.real = Conv(y.in0, y.in1, y.in2)
    y = QuantizeLinear(y.real, r, v)
    return y

The kinds are QLinearConv and QLinearMatMul of the standard, and those of com.microsoft that ONNX
Runtime's quantizer writes (QLinearAdd, QLinearMul, QLinearConcat, pools, QLinearSigmoid,
QLinearLeakyRelu, QLinearSoftmax, QLinearWhere, QGemm); its QuantizeLinear and DequantizeLinear
become those of the standard, and a MatMulNBits becomes a MatMul of a weight in blocks.

Preconditions:
    1. The kind is one of the table, and its tensors have channels first.
    2. The scales of an operation with a bias are constants: that of the bias is their product.
    3. Where a scale is a vector (QLinearConv, QLinearMatMul), it lies along the channels.

Numerics: real-equal; the real operation rounds its sums to float32, where an integer one may round
half a step the other way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from quantable.ir import Graph, GraphEditor, Operation
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.qoperator_forms import FORMS, Form
from quantable.passes.canonicalize.rewriting import remove_dead
from quantable.passes.canonicalize.shapes.inference import infer

_SUFFIX = "_quant"
Reader = Callable[[GraphEditor, Operation], Form | str]


@dataclass(frozen=True)
class ExpandQoperators(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "expand-qoperators"
    summary: ClassVar[str] = (
        "write operations on integers that bring their scales along as real ones between quantizers"
    )

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Rewrite every operation that the table has a form of."""
        editor = GraphEditor(graph)
        changed: set[str] = set()
        for op in context.rewrites.over(editor, graph.operations):
            read = FORMS.get(op.kind)
            if read is None:
                continue
            form = read(editor, op)
            if isinstance(form, str):
                context.remarks.append((self.name, op.where(), f"stays: {form}"))
                continue
            form.write(editor, op)
            changed.add(op.name)
        if not changed:
            return graph
        remove_dead(editor)
        return infer(_renamed(editor.finish(), changed)).graph


def _renamed(graph: Graph, changed: set[str]) -> Graph:
    """Give operations the names back that they had before a quantizer put its word behind them."""
    taken = {op.name for op in graph.operations} | set(graph.values)
    operations = []
    for op in graph.operations:
        name = op.name.removesuffix(_SUFFIX)
        is_free = op.name in changed and name not in taken and name
        operations.append(replace(op, name=name) if is_free else op)
    return replace(graph, operations=tuple(operations))
