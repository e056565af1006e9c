"""Compute operations whose inputs are all constant.

Before:
    x: f32[N,2]; w: f32[2] = [1, 2]; v: f32[2] = [10, 20]
    s = Add(w, v)
    y = Mul(x, s)
    return y
After:
    x: f32[N,2]; s: f32[2] = [11, 22]
    y = Mul(x, s)
    return y

Preconditions:
    1. Every input that is present is a parameter.
    2. The runtime has the operation; without a runtime only ConstantOfShape and weights behind
       DequantizeLinear fold.
    3. An operation that makes much from little (Expand, Tile, ConstantOfShape, Range) folds up to
       `limit_bytes`.
    4. Weights behind DequantizeLinear stay where the model quantizes activations as well: they are
       what `adopt-quantizers` keeps. With `weights=false` they stay in any model.

Numerics: bit-exact with the runtime that was handed in; DequantizeLinear is
``(q - zero_point) * scale`` in float32, as ONNX has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from quantable.ir import (
    ContentRef,
    DType,
    Graph,
    GraphEditor,
    Operation,
    UnsupportedError,
)
from quantable.passes.base import Array, Executor, Pass, PassContext
from quantable.passes.canonicalize.quantizer_forms import (
    DEQUANTIZE,
    Quantizer,
    dequantized,
    quantizer_of,
    quantizes_activations,
)
from quantable.passes.canonicalize.rewriting import known_shape

_EXPANDING = frozenset({"ConstantOfShape", "Expand", "Range", "Tile"})
_OPAQUE = frozenset(
    dtype for dtype in DType if dtype.is_small_float or dtype in (DType.BFLOAT16, DType.STRING)
)
"""Types that NumPy does not have."""


@dataclass(frozen=True)
class FoldConstants(Pass):
    """See the module's docstring.

    Attributes:
        limit_bytes: Most bytes that an expanding operation may fold to.
        weights: Whether weights behind DequantizeLinear are computed (precondition 4).
    """

    name: ClassVar[str] = "fold-constants"
    summary: ClassVar[str] = "compute operations whose inputs are all constant"
    limit_bytes: int = 1 << 20
    weights: bool = True

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Fold in topological order, so that one walk is enough."""
        editor = GraphEditor(graph)
        folded = 0
        keeps = not self.weights or quantizes_activations(graph)
        for operation in context.rewrites.over(editor, graph.operations):
            arrays = _inputs(editor, operation)
            is_kept = keeps and _is_adopted(editor, operation)
            if arrays is None or is_kept or not _is_small(editor, operation, self.limit_bytes):
                continue
            results = _computed(graph, operation, arrays, context)
            if results is None:
                continue
            editor.remove(operation)
            for name, value in zip(operation.outputs, results, strict=False):
                if name:
                    editor.make_parameter(name, value)
            folded += 1
        return editor.finish() if folded else graph


def _inputs(editor: GraphEditor, operation: Operation) -> list[Array | None] | None:
    """Return the constant inputs (precondition 1), or None."""
    present = [name for name in operation.inputs if name]
    if not present or any(name not in editor.parameters for name in present):
        return None
    if any(editor.values[name].dtype in _OPAQUE for name in (*present, *operation.outputs) if name):
        return None
    return [editor.array(name) if name else None for name in operation.inputs]


def _is_adopted(editor: GraphEditor, operation: Operation) -> bool:
    """Precondition 4."""
    if operation.kind != DEQUANTIZE:
        return False
    return not isinstance(quantizer_of(editor, operation), str)


def _is_small(editor: GraphEditor, operation: Operation, limit: int) -> bool:
    """Precondition 3."""
    if operation.kind not in _EXPANDING:
        return True
    value = editor.values[operation.outputs[0]]
    shape = known_shape(value.shape)
    if shape is None and operation.kind == "ConstantOfShape":
        shape = tuple(int(n) for n in editor.array(operation.inputs[0]).reshape(-1))
    return shape is not None and int(np.prod(shape, dtype=np.int64)) * value.dtype.bits <= 8 * limit


def _computed(
    graph: Graph, operation: Operation, inputs: list[Array | None], context: PassContext
) -> tuple[Array, ...] | None:
    """Precondition 2."""
    if operation.kind == "ConstantOfShape":
        return (_filled(graph, operation, inputs),)
    if operation.kind == DEQUANTIZE:
        found = quantizer_of(graph, operation)
        if isinstance(found, Quantizer) and inputs[0] is not None:
            return (dequantized(inputs[0], found),)
    executor: Executor | None = context.executor
    if executor is None:
        _remark(context, operation, "no runtime was handed in")
        return None
    try:
        return executor.run_operation(operation, inputs)
    except UnsupportedError as error:
        _remark(context, operation, error.message)
        return None


def _remark(context: PassContext, operation: Operation, reason: str) -> None:
    context.remarks.append((FoldConstants.name, operation.where(), f"stays: {reason}"))


def _filled(graph: Graph, operation: Operation, inputs: list[Array | None]) -> Array:
    value = operation.attributes.get("value")
    filler: Array = np.zeros(1, np.float32)
    if isinstance(value, ContentRef):
        filler = graph.store.get(value)
    assert inputs[0] is not None
    shape = tuple(int(n) for n in inputs[0].reshape(-1))
    return np.full(shape, filler.reshape(-1)[0], filler.dtype)
