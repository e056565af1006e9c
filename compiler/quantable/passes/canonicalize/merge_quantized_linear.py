"""Bring Gemm and MatMul whose weights are dequantized constants to Linear.

Before:
    x: f32[N,3]; w: i8[2,3] = [[1, 2, 3], [4, 5, 6]]; s: f32[2] = [0.5, 0.25]; z: i8[2] = [0, 0]
    v = DequantizeLinear(w, s, z) {axis=0}
    y = Gemm(x, v) {transB=1}
    return y
After:
    x: f32[N,3]; v.stored: i8[3,2] = [[1, 4], [2, 5], [3, 6]]; s: f32[2] = [0.5, 0.25]
    z: i8[2] = [0, 0]
    v.transposed = DequantizeLinear(v.stored, s, z) {axis=1}
    y = quantable.Linear(x, v.transposed)
    return y

It is what merge-linear does with constant weights; here their integers are transposed.

Preconditions:
    1. The second operand is DequantizeLinear of a constant matrix with constant numbers, the first
       one is no parameter and has a rank of at least 2.
    2. A Gemm has ``alpha`` and ``beta`` of 1, no ``transA``, and a bias of one number a column (a
       parameter, or DequantizeLinear of one) or none.

Numerics: bit-exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from quantable.ir import Attribute, Graph, GraphEditor, Operation
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.quantizer_forms import DEQUANTIZE, Quantizer, quantizer_of
from quantable.passes.canonicalize.rewriting import rank_of, remove_dead, rewritten


@dataclass(frozen=True)
class MergeQuantizedLinear(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "merge-quantized-linear"
    summary: ClassVar[str] = "bring Gemm and MatMul whose weights are dequantized to Linear"

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Rewrite each product."""
        return rewritten(graph, context, self.name, ("Gemm", "MatMul"), _merged)


def _merged(editor: GraphEditor, op: Operation) -> str | None:
    maker = editor.producer(op.inputs[1])
    if maker is None or maker.kind != DEQUANTIZE or maker.inputs[0] not in editor.parameters:
        return None
    quantizer = quantizer_of(editor, maker)
    rank = rank_of(editor, op.inputs[0])
    is_matrix = rank_of(editor, op.inputs[1]) == 2
    if isinstance(quantizer, str) or not is_matrix or rank is None or rank < 2:
        return None
    if op.inputs[0] in editor.parameters or (op.kind == "Gemm" and not _is_plain(editor, op)):
        return None
    weight = op.inputs[1]
    if op.int_attribute("transB"):
        weight = _transposed(editor, maker, quantizer)
    inputs = (op.inputs[0], weight, *op.inputs[2:])
    editor.replace(replace(op, kind="quantable.Linear", inputs=inputs, attributes={}))
    remove_dead(editor, [maker])
    return ""


def _is_plain(editor: GraphEditor, op: Operation) -> bool:
    """Precondition 2."""
    factors = op.float_attribute("alpha", 1.0), op.float_attribute("beta", 1.0)
    if factors != (1.0, 1.0) or op.int_attribute("transA"):
        return False
    if len(op.inputs) < 3:
        return True
    maker = editor.producer(op.inputs[2])
    is_constant = op.inputs[2] in editor.parameters or (
        maker is not None and maker.kind == DEQUANTIZE and maker.inputs[0] in editor.parameters
    )
    columns = editor.values[op.outputs[0]].shape
    bias = editor.values[op.inputs[2]].shape
    return is_constant and columns is not None and bias == columns[-1:]


def _transposed(editor: GraphEditor, maker: Operation, quantizer: Quantizer) -> str:
    """Return the name of the transposed weight, dequantized."""
    value = maker.outputs[0]
    stored = np.ascontiguousarray(editor.array(maker.inputs[0]).T)
    names = list(maker.inputs[1:])
    attributes: dict[str, Attribute] = {}
    if quantizer.axis is not None:
        attributes["axis"] = 1 - quantizer.axis
    if quantizer.block_size:
        attributes["block_size"] = quantizer.block_size
        names = [
            editor.add_parameter(
                f"{value}.{word}", np.ascontiguousarray(editor.array(name).T),
                editor.values[name].dtype,
            )
            for word, name in zip(("scale", "zero_point"), names, strict=False)
        ]  # fmt: skip
    held = editor.add_parameter(f"{value}.stored", stored, quantizer.dtype)
    shape = editor.values[value].shape
    result = editor.add_value(
        f"{value}.transposed", editor.values[value].dtype, None if shape is None else shape[::-1]
    )
    editor.add_operation(
        f"{maker.name}.transposed", DEQUANTIZE, (held, *names), (result,), attributes, maker.sources
    )
    return result
