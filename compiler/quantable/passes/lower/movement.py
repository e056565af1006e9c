"""Lower operations that only move elements: they stay on their input's grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quantable.ir import DType, QuantableOperation, Shape, UnsupportedError
from quantable.passes.lower.lowering import Lowering


def lower_movement(operation: QuantableOperation, lowering: Lowering) -> None:
    """Lower Reshape, Transpose, Slice, or Gather with constant indices or those of an input."""
    source = lowering.read(operation, 0)
    inputs = [source.name, *_constants(operation, lowering)]
    attributes = dict(operation.attributes)
    if operation.kind == "Transpose" and "perm" not in attributes:
        attributes["perm"] = tuple(reversed(range(len(source.shape or ()))))
    lowering.emit_moved(operation, operation.kind, inputs, source.grid, attributes)


def lower_split(operation: QuantableOperation, lowering: Lowering) -> None:
    """Lower a Split: every part is on the input's grid."""
    source = lowering.read(operation, 0)
    inputs = [source.name, *_constants(operation, lowering)]
    lowering.emit_split(operation, inputs, source.grid)


def lower_concat(operation: QuantableOperation, lowering: Lowering) -> None:
    """Lower a Concat: every part is brought to the output's grid, where they differ."""
    parts = [lowering.read(operation, slot) for slot in range(len(operation.inputs))]
    grids = list(dict.fromkeys(part.grid for part in parts))
    grid = grids[0] if len(grids) == 1 else lowering.grid(operation, "out", 0)
    inputs = [lowering.converted(part, grid).name for part in parts]
    lowering.emit_moved(operation, "Concat", inputs, grid, operation.attributes)


def lower_pad(operation: QuantableOperation, lowering: Lowering) -> None:
    """Lower a constant Pad: the padded value becomes the integer that stands for it."""
    if operation.attributes.get("mode", "constant") != "constant":
        raise UnsupportedError(
            f"expected Pad mode 'constant', found '{operation.attributes['mode']}'",
            where=operation.where(),
        )
    source = lowering.read(operation, 0)
    real = lowering.reals(operation, 2)
    integer = source.grid.quantize(np.zeros((), np.float32) if real is None else real)
    inputs = [source.name, *_constants(operation, lowering)]
    value = lowering.add_parameter(
        f"{operation.name}.value", integer.reshape(()), source.grid.dtype
    )
    inputs = [*inputs[:2], value, *inputs[2:]]
    lowering.emit_moved(operation, "Pad", inputs, source.grid, {"mode": "constant"})


def lower_reshaping(operation: QuantableOperation, lowering: Lowering) -> None:
    """Lower Flatten, Squeeze or Unsqueeze: a Reshape."""
    source = lowering.read(operation, 0)
    result = lowering.graph.shape(operation.outputs[0])
    shape = _reshape_target(operation, source.shape, result)
    name = lowering.add_parameter(f"{operation.name}.shape", np.array(shape), DType.INT64)
    lowering.emit_moved(operation, "Reshape", [source.name, name], source.grid, {})


def _constants(operation: QuantableOperation, lowering: Lowering) -> list[str]:
    """Copy the shape-or-index parameters (int64, never quantized) of slots 1 and up.

    Slot 2 of a Pad, which is the padded value, is left to its rule.
    """
    names = []
    for slot, name in enumerate(operation.inputs):
        if slot == 0 or (operation.kind == "Pad" and slot == 2):
            continue
        if not name:
            names.append("")
            continue
        if name in lowering.graph.inputs and operation.kind == "Gather":
            names.append(name)
            continue
        if not lowering.graph.is_parameter(name):
            raise UnsupportedError(
                f"expected a constant in slot {slot}, found '{name}', which is computed",
                where=operation.where(),
                help="run 'fold-shapes' before, or give the input a static shape",
            )
        contents = lowering.graph.array(name)
        names.append(lowering.add_parameter(name, contents, DType.of(contents.dtype)))
    return names


def _reshape_target(
    operation: QuantableOperation, source: Shape | None, result: Shape | None
) -> Sequence[int]:
    """Return a Reshape's target: 0 for a symbol that stays in its place, -1 for one that moves."""
    target: list[int] = []
    for axis, dim in enumerate(result or ()):
        stays = source is not None and axis < len(source) and source[axis] == dim
        target.append(dim if isinstance(dim, int) else 0 if stays else -1)
    if result is None or target.count(-1) > 1:
        raise UnsupportedError(
            f"expected at most one unknown dimension, found {source} -> {result}",
            where=operation.where(),
            help="run 'fold-shapes' before, or give the input a static shape",
        )
    return target
