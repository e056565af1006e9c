"""Bring Gemm and MatMul with constant weights, and a following Add, to Linear.

Before:
    x: f32[N,3]; w: f32[2,3] = [[1, 2, 3], [4, 5, 6]]; b: f32[2] = [7, 8]
    y = Gemm(x, w, b) {alpha=0.5 transB=1}
    return y
After:
    x: f32[N,3]; y.weight: f32[3,2] = [[0.5, 2], [1, 2.5], [1.5, 3]]; b: f32[2] = [7, 8]
    y = quantable.Linear(x, y.weight, b)
    return y

Preconditions:
    1. The second operand is a float parameter [K, N] (or [N, K] with ``transB``) and the first one
       is no parameter. ``alpha`` is multiplied into the weight, ``beta`` into the bias.
    2. The bias of a Gemm is a parameter, a scalar or one number a column; any other one stays an
       Add. With ``transA`` a Transpose comes first.
    3. A Gemm of two computed matrices becomes MatMul, Transpose, Mul and Add as it needs them.
    4. A following Add: see merge-bias.

Numerics: bit-exact without alpha and beta; real-equal with them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from quantable.ir import Graph, GraphEditor, Operation
from quantable.ir.graph import Shape
from quantable.passes.base import Pass, PassContext
from quantable.passes.canonicalize.merge_bias import merge_add
from quantable.passes.canonicalize.rewriting import (
    float_parameter,
    is_float_parameter,
    sole_user,
)


@dataclass(frozen=True)
class MergeLinear(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "merge-linear"
    summary: ClassVar[str] = (
        "bring Gemm and MatMul with constant weights, and a following Add, to Linear"
    )

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Rewrite each product, then the Add behind it."""
        editor = GraphEditor(graph)
        changes = 0
        for op in context.rewrites.over(editor, graph.operations):
            if op.kind == "Gemm":
                _rewrite_gemm(editor, op)
            elif op.kind == "MatMul" and _is_linear(editor, op):
                editor.replace(replace(op, kind="quantable.Linear", attributes={}))
            else:
                continue
            changes += 1
            add = sole_user(editor, op.outputs[0])
            if add is not None and add.kind == "Add":
                merge_add(editor, add)
        return editor.finish() if changes else graph


def _is_linear(editor: GraphEditor, op: Operation) -> bool:
    x, weight = op.inputs
    shape = editor.values[x].shape
    is_weight = is_float_parameter(editor, weight) and _rank(editor, weight) == 2
    return is_weight and x not in editor.parameters and shape is not None and len(shape) > 1


def _rank(editor: GraphEditor, value: str) -> int:
    return len(editor.values[value].shape or ())


def _rewrite_gemm(editor: GraphEditor, op: Operation) -> None:
    alpha, beta = op.float_attribute("alpha", 1.0), op.float_attribute("beta", 1.0)
    bias = op.inputs[2] if len(op.inputs) > 2 and beta != 0.0 else ""
    x = _transposed(editor, op, op.inputs[0]) if op.int_attribute("transA") else op.inputs[0]
    if not is_float_parameter(editor, op.inputs[1]) or x in editor.parameters:
        b = _transposed(editor, op, op.inputs[1]) if op.int_attribute("transB") else op.inputs[1]
        _compose(editor, op, "MatMul", (x, b), alpha, bias, beta)
        return
    weight = _weight(editor, op, alpha)
    held = _row_bias(editor, op, bias, beta)
    if held is not None:
        inputs = (x, weight, held) if held else (x, weight)
        editor.replace(replace(op, kind="quantable.Linear", inputs=inputs, attributes={}))
        return
    _compose(editor, op, "quantable.Linear", (x, weight), 1.0, bias, beta)


def _weight(editor: GraphEditor, op: Operation, alpha: float) -> str:
    """Return the name of the weight [K, N] with alpha in it."""
    name = op.inputs[1]
    if alpha == 1.0 and not op.int_attribute("transB"):
        return name
    held = editor.array(name)
    if alpha != 1.0:
        held = (held.astype(np.float64) * alpha).astype(held.dtype)
    turned = held.T if op.int_attribute("transB") else held
    return editor.add_parameter(f"{op.outputs[0]}.weight", np.ascontiguousarray(turned))


def _row_bias(editor: GraphEditor, op: Operation, bias: str, beta: float) -> str | None:
    """Return the bias [N], '' where there is none, None where an Add has to do it."""
    if not bias:
        return ""
    values, columns = float_parameter(editor, bias), _columns(editor, op)
    if values is None or columns is None or values.size not in (1, columns):
        return None
    if values.ndim == 2 and values.shape[0] != 1:
        return None
    if beta == 1.0 and values.shape == (columns,):
        return bias
    row = np.broadcast_to(values.reshape(-1) * beta, (columns,))
    return editor.add_parameter(f"{op.outputs[0]}.bias", row.astype(editor.array(bias).dtype))


def _columns(editor: GraphEditor, op: Operation) -> int | None:
    shape = editor.values[op.outputs[0]].shape
    return shape[-1] if shape and isinstance(shape[-1], int) else None


def _transposed(editor: GraphEditor, op: Operation, value: str) -> str:
    shape = editor.values[value].shape
    turned = None if shape is None else shape[::-1]
    name = _step(editor, op, "Transpose", (value,), turned, f"{value}.transposed")
    step = editor.producer(name)
    assert step is not None
    editor.replace(replace(step, attributes={"perm": (1, 0)}))
    return name


def _compose(
    editor: GraphEditor,
    op: Operation,
    kind: str,
    operands: Iterable[str],
    alpha: float,
    bias: str,
    beta: float,
) -> None:
    """Build ``alpha * a b + beta * c`` from plain operations; the last one gives the output."""
    output = op.outputs[0]
    shape = editor.values[output].shape
    steps: list[tuple[str, tuple[str, ...]]] = [(kind, tuple(operands))]
    if alpha != 1.0:
        steps.append(("Mul", (_scalar(editor, output, "alpha", alpha),)))
    if bias and beta != 1.0:
        bias = _scaled(editor, op, bias, beta)
    if bias:
        steps.append(("Add", (bias,)))
    value = ""
    for index, (name, inputs) in enumerate(steps):
        given = inputs if index == 0 else (value, *inputs)
        if index == len(steps) - 1:
            editor.replace(replace(op, kind=name, inputs=given, attributes={}))
        else:
            value = _step(editor, op, name, given, shape, f"{output}.product")


def _scaled(editor: GraphEditor, op: Operation, bias: str, beta: float) -> str:
    held = float_parameter(editor, bias)
    if held is not None:
        dtype = editor.values[bias].dtype.numpy
        return editor.add_parameter(f"{op.outputs[0]}.bias", (held * beta).astype(dtype))
    factor = _scalar(editor, op.outputs[0], "beta", beta)
    return _step(editor, op, "Mul", (bias, factor), editor.values[bias].shape, f"{bias}.scaled")


def _scalar(editor: GraphEditor, output: str, role: str, value: float) -> str:
    return editor.add_parameter(f"{output}.{role}", np.float32(value))


def _step(
    editor: GraphEditor,
    op: Operation,
    kind: str,
    inputs: tuple[str, ...],
    shape: Shape | None,
    hint: str,
) -> str:
    name = editor.add_value(hint, editor.values[op.outputs[0]].dtype, shape)
    editor.add_operation(f"{op.name}.{kind}", kind, inputs, (name,), {}, op.sources)
    return name
