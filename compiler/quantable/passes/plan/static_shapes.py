"""Shapes of integer operations from static input shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantable.ir import Graph, Operation, OptionError
from quantable.passes.canonicalize.shapes.indexing import slice_range
from quantable.passes.plan.user_operations import user_shapes

Static = tuple[int, ...]
Constants = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class _Call:
    """What a rule looks at."""

    operation: Operation
    shapes: Sequence[Static]
    constants: Constants


def output_shapes(
    operation: Operation, shapes: Sequence[Static], constants: Constants, graph: Graph
) -> tuple[Static, ...]:
    """Return the shapes of the outputs.

    Args:
        operation: An integer or movement operation.
        shapes: Shape of every input, in order ('' inputs give ()).
        constants: Contents of the parameters among the inputs.
        graph: Where the operation is.

    Raises:
        OptionError: The shapes contradict each other, for instance under a bound batch.
        InvariantError: The kind has no rule.
        UserError: The definition that the graph was imported with is not here.
    """
    rule = _RULES.get(operation.kind)
    if rule is None:
        return user_shapes(operation, shapes, graph)
    return rule(_Call(operation, shapes, constants))


def constant_ints(operation: Operation, slot: int, constants: Constants) -> list[int] | None:
    """Return a constant of integers, or None where the slot is empty."""
    if slot >= len(operation.inputs) or not operation.inputs[slot]:
        return None
    return [int(v) for v in constants[operation.inputs[slot]].reshape(-1)]


def slice_extents(
    operation: Operation, rank: int, constants: Constants
) -> list[tuple[int, int, int, int]]:
    """Return (axis, start, end, step) of a Slice."""
    starts = constant_ints(operation, 1, constants) or []
    ends = constant_ints(operation, 2, constants) or []
    axes = constant_ints(operation, 3, constants) or list(range(len(starts)))
    steps = constant_ints(operation, 4, constants) or [1] * len(starts)
    axes = [axis % rank for axis in axes]
    return list(zip(axes, starts, ends, steps, strict=True))


def pad_extents(operation: Operation, rank: int, constants: Constants) -> list[tuple[int, int]]:
    """Return (begin, end) of every axis of a Pad."""
    pads = constant_ints(operation, 1, constants) or []
    axes = constant_ints(operation, 3, constants) or list(range(rank))
    extents = [(0, 0)] * rank
    for index, axis in enumerate(axes):
        extents[axis % rank] = (pads[index], pads[index + len(axes)])
    return extents


def reshaped(operation: Operation, source: Static, target: Sequence[int]) -> Static:
    """Return the shape that a Reshape with 0 and -1 in its target gives.

    Raises:
        OptionError: The element counts differ.
    """
    keeps = not operation.int_attribute("allowzero")
    dims = [source[i] if dim == 0 and keeps else dim for i, dim in enumerate(target)]
    known = math.prod(dim for dim in dims if dim != -1)
    dims = [math.prod(source) // max(known, 1) if dim == -1 else dim for dim in dims]
    if math.prod(dims) != math.prod(source):
        raise OptionError(
            f"expected {math.prod(source)} elements, found a target of {tuple(target)}",
            where=operation.where(),
            help="the model fixes this shape: plan with batch=1, or export it with another batch",
        )
    return tuple(dims)


def _same(call: _Call) -> tuple[Static]:
    return (call.shapes[0],)


def _broadcast(call: _Call) -> tuple[Static]:
    return (_broadcasted(call.operation, call.shapes[0], call.shapes[1]),)


def _broadcasted(operation: Operation, a: Static, b: Static) -> Static:
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        raise OptionError(
            f"expected shapes that broadcast, found {a} and {b}", where=operation.where()
        ) from None


def _windowed(call: _Call) -> tuple[Static]:
    is_last = call.operation.attributes.get("layout") == "NHWC"
    shape = call.shapes[0]
    spatial = shape[1:-1] if is_last else shape[2:]
    channels = shape[-1] if is_last else shape[1]
    if call.operation.kind == "int.Conv":
        channels = call.shapes[1][0]
    kernel = call.operation.ints_attribute("kernel_shape")
    pads = call.operation.ints_attribute("pads")
    strides = call.operation.ints_attribute("strides")
    dilations = call.operation.ints_attribute("dilations")
    rank = len(kernel)
    out = [
        (spatial[i] + pads[i] + pads[rank + i] - (kernel[i] - 1) * dilations[i] - 1) // strides[i]
        + 1
        for i in range(rank)
    ]
    return ((shape[0], *out, channels) if is_last else (shape[0], channels, *out),)


def _linear(call: _Call) -> tuple[Static]:
    return ((*call.shapes[0][:-1], call.shapes[1][1]),)


def _matmul(call: _Call) -> tuple[Static]:
    a, b = call.shapes[0], call.shapes[1]
    rows = () if len(a) == 1 else (a[-2],)
    columns = () if len(b) == 1 else (b[-1],)
    return ((*_broadcasted(call.operation, a[:-2], b[:-2]), *rows, *columns),)


def _reduced(call: _Call) -> tuple[Static]:
    axes, keepdims = call.operation.ints_attribute("axes"), call.operation.int_attribute("keepdims")
    kept = [1 if i in axes else dim for i, dim in enumerate(call.shapes[0])]
    return (tuple(dim for i, dim in enumerate(kept) if keepdims or i not in axes),)


def _concat(call: _Call) -> tuple[Static]:
    axis = call.operation.int_attribute("axis") % len(call.shapes[0])
    total = sum(shape[axis] for shape in call.shapes)
    return ((*call.shapes[0][:axis], total, *call.shapes[0][axis + 1 :]),)


def _gather(call: _Call) -> tuple[Static]:
    axis = call.operation.int_attribute("axis") % len(call.shapes[0])
    return ((*call.shapes[0][:axis], *call.shapes[1], *call.shapes[0][axis + 1 :]),)


def _pad(call: _Call) -> tuple[Static]:
    extents = pad_extents(call.operation, len(call.shapes[0]), call.constants)
    return (tuple(d + a + b for d, (a, b) in zip(call.shapes[0], extents, strict=True)),)


def _reshape(call: _Call) -> tuple[Static]:
    target = constant_ints(call.operation, 1, call.constants) or []
    return (reshaped(call.operation, call.shapes[0], target),)


def _slice(call: _Call) -> tuple[Static]:
    dims = list(call.shapes[0])
    for axis, start, end, step in slice_extents(call.operation, len(dims), call.constants):
        dims[axis] = len(slice_range(dims[axis], start, end, step))
    return (tuple(dims),)


def _split(call: _Call) -> tuple[Static, ...]:
    shape, count = call.shapes[0], len(call.operation.outputs)
    axis = call.operation.int_attribute("axis") % len(shape)
    chunk = -(-shape[axis] // count)
    equal = [min(chunk, shape[axis] - i * chunk) for i in range(count)]
    sizes = constant_ints(call.operation, 1, call.constants) or equal
    return tuple((*shape[:axis], size, *shape[axis + 1 :]) for size in sizes)


def _transpose(call: _Call) -> tuple[Static]:
    perm = call.operation.ints_attribute("perm") or tuple(reversed(range(len(call.shapes[0]))))
    return (tuple(call.shapes[0][i] for i in perm),)


_RULES: dict[str, Callable[[_Call], tuple[Static, ...]]] = {
    **dict.fromkeys(
        ("int.Quantize", "int.Dequantize", "int.Requantize", "int.Table", "int.Softmax",
         "int.InterpolatedTable", "int.LayerNormalization"), _same
    ),
    **dict.fromkeys(("int.Add", "int.Mul"), _broadcast),
    **dict.fromkeys(("int.Conv", "int.MaxPool", "int.AveragePool"), _windowed),
    "int.Linear": _linear,
    "int.MatMul": _matmul,
    "int.ReduceMean": _reduced,
    "Concat": _concat,
    "Gather": _gather,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Transpose": _transpose,
}  # fmt: skip
