"""Let operations that only move elements work on real numbers, and on integers of constants.

Before:
    x: f32[1,4]; target: i64[2] = [2, 2]; w: i8[2,3] = [[1, 2, 3], [4, 5, 6]]; s: f32[] = 0.5
    z: u8[] = 128; t: i8[] = 0
    q = QuantizeLinear(x, s, z)
    r = Reshape(q, target)
    a = DequantizeLinear(r, s, z)
    d = DequantizeLinear(w, s, t)
    v = Transpose(d) {perm=[1,0]}
    y = Gemm(a, v) {transB=1}
    return y
After:
    x: f32[1,4]; target: i64[2] = [2, 2]; s: f32[] = 0.5; z: u8[] = 128; t: i8[] = 0
    v.stored: i8[3,2] = [[1, 4], [2, 5], [3, 6]]
    q = QuantizeLinear(x, s, z)
    v = DequantizeLinear(v.stored, s, t)
    q.real = DequantizeLinear(q, s, z)
    r.real = Reshape(q.real, target)
    r = QuantizeLinear(r.real, s, z)
    a = DequantizeLinear(r, s, z)
    y = Gemm(a, v) {transB=1}
    return y

Preconditions:
    1. Integers that QuantizeLinear made with one scale are moved, or padded with a constant: the
       operation moves the real numbers that they stand for, and its result is quantized.
    2. Real numbers of constant integers are moved: a Transpose, or any other movement where there
       is one scale. The integers are moved at once; the runtime has to be there.
    3. QuantizeLinear of a constant, or of one that is dequantized, is computed.
    4. The numbers of the quantizers are constants.

Numerics: bit-exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from quantable.ir import DType, Graph, GraphEditor, Operation, UnsupportedError
from quantable.passes.base import Array, Pass, PassContext
from quantable.passes.canonicalize.quantizer_forms import (
    DEQUANTIZE,
    QUANTIZE,
    Quantizer,
    dequantized,
    moves_elements,
    quantized,
    quantizer_of,
)
from quantable.passes.canonicalize.rewriting import remove_dead


@dataclass(frozen=True)
class MoveQuantizers(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "move-quantizers"
    summary: ClassVar[str] = (
        "let operations that only move elements work on real numbers, and on integers of constants"
    )

    def run(self, graph: Graph, context: PassContext) -> Graph:
        """Rewrite in topological order, so that chains move as a whole."""
        editor = GraphEditor(graph)
        changes = 0
        for before in context.rewrites.over(editor, graph.operations):
            op = editor.operations[before.name]
            maker = editor.producer(op.inputs[0]) if op.inputs and op.inputs[0] else None
            if op.kind == QUANTIZE:
                changes += _fold(editor, op, maker)
                continue
            if maker is None:
                continue
            if maker.kind == QUANTIZE:
                changes += _move_reals(editor, op, maker)
            elif maker.kind == DEQUANTIZE and maker.inputs[0] in editor.parameters:
                changes += _move_constant(editor, op, maker, context)
        if not changes:
            return graph
        remove_dead(editor)
        return editor.finish()


def _fold(editor: GraphEditor, op: Operation, maker: Operation | None) -> bool:
    """Compute the integers of a constant (precondition 3)."""
    grid = quantizer_of(editor, op)
    if isinstance(grid, str):
        return False
    if op.inputs[0] in editor.parameters:
        real = editor.array(op.inputs[0])
    elif maker is not None and maker.kind == DEQUANTIZE and maker.inputs[0] in editor.parameters:
        before = quantizer_of(editor, maker)
        if isinstance(before, str):
            return False
        real = dequantized(editor.array(maker.inputs[0]), before)
    else:
        return False
    editor.remove(op)
    name = op.outputs[0]
    editor.parameters[name] = editor.store.put(quantized(real, grid), grid.dtype)
    return True


def _move_reals(editor: GraphEditor, op: Operation, maker: Operation) -> bool:
    """Rewrite the movement of integers (precondition 1)."""
    grid = quantizer_of(editor, maker)
    if isinstance(grid, str) or grid.axis is not None or not grid.is_idempotent:
        return False
    fill = _real_fill(editor, op, grid)
    if fill is None:
        return False
    constants = maker.inputs[1:]
    source = editor.values[op.inputs[0]]
    real = editor.add_value(f"{source.name}.real", DType.FLOAT32, source.shape)
    editor.add_operation(
        f"{maker.name}.{DEQUANTIZE}", DEQUANTIZE, (source.name, *constants), (real,), {},
        maker.sources,
    )  # fmt: skip
    made = [
        editor.add_value(f"{name}.real", DType.FLOAT32, editor.values[name].shape)
        if name and editor.values[name].dtype is source.dtype else name
        for name in op.outputs
    ]  # fmt: skip
    editor.replace(replace(op, inputs=(real, *fill), outputs=tuple(made)))
    for name, moved in zip(op.outputs, made, strict=True):
        if name != moved:
            editor.add_operation(
                f"{op.name}.{QUANTIZE}", QUANTIZE, (moved, *constants), (name,), {}, op.sources
            )
    return True


def _real_fill(editor: GraphEditor, op: Operation, grid: Quantizer) -> Sequence[str] | None:
    """Return the further operands of a movement of real numbers; None where there is none."""
    if op.kind != "Pad":
        return op.inputs[1:] if moves_elements(editor, op) else None
    if op.string_attribute("mode", "constant") != "constant":
        return op.inputs[1:]
    held = op.inputs[2] if len(op.inputs) > 2 else ""
    if held and held not in editor.parameters:
        return None
    integer = int(editor.array(held).reshape(())) if held else 0
    real = np.float32(integer - int(grid.zero_point[0])) * grid.scale[0]
    if not real:
        return (op.inputs[1], "", *op.inputs[3:]) if op.inputs[3:] else (op.inputs[1],)
    return (op.inputs[1], editor.add_parameter(f"{op.name}.value", real), *op.inputs[3:])


def _move_constant(
    editor: GraphEditor, op: Operation, maker: Operation, context: PassContext
) -> bool:
    """Rewrite the movement of a dequantized constant (precondition 2)."""
    grid = quantizer_of(editor, maker)
    if isinstance(grid, str) or not moves_elements(editor, op) or context.executor is None:
        return False
    is_one = grid.axis is None and op.kind != "Pad"
    others = op.inputs[1:]
    if not (is_one or op.kind == "Transpose") or any(
        name not in editor.parameters for name in others if name
    ):
        return False
    if len(op.outputs) != 1 or grid.dtype.is_small_float:
        return False
    stored = editor.array(maker.inputs[0])
    try:
        moved = _moved(op, stored, [editor.array(n) if n else None for n in others], context)
    except UnsupportedError as error:
        context.remarks.append((MoveQuantizers.name, op.where(), f"stays: {error.message}"))
        return False
    constants, attributes = _turned(editor, op, maker, grid, stored.ndim)
    name = editor.add_parameter(f"{op.outputs[0]}.stored", moved, grid.dtype)
    editor.replace(
        replace(
            op, kind=DEQUANTIZE, inputs=(name, *constants), attributes=attributes,
            sources=(*maker.sources, *op.sources),
        )
    )  # fmt: skip
    return True


def _moved(
    op: Operation, stored: Array, others: Sequence[Array | None], context: PassContext
) -> Array:
    assert context.executor is not None
    return context.executor.run_operation(op, [stored, *others])[0]


def _turned(
    editor: GraphEditor, op: Operation, maker: Operation, grid: Quantizer, rank: int
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return scale, zero point and attributes of the quantizer behind a movement."""
    if grid.axis is None:
        return maker.inputs[1:], {}
    perm = op.ints_attribute("perm") or tuple(reversed(range(rank)))
    attributes = {"axis": perm.index(grid.axis)}
    if not grid.block_size:
        return maker.inputs[1:], attributes
    turned = [
        editor.add_parameter(
            f"{op.outputs[0]}.{word}", np.transpose(editor.array(name), perm),
            editor.values[name].dtype,
        )
        for word, name in zip(("scale", "zero_point"), maker.inputs[1:], strict=False)
        if name
    ]  # fmt: skip
    return tuple(turned), {**attributes, "block_size": grid.block_size}
