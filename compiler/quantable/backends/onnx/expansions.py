"""Operations that ONNX, or the file's opset, says as several nodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from quantable.backends.onnx.forms import LINEAR, is_gemm, is_padded_whole
from quantable.backends.onnx.names import NodeWriter
from quantable.backends.onnx.opsets import AXES_AS_INPUT, NATIVE_GELU
from quantable.ir import Graph, Operation, UnsupportedError

SIMPLIFIED = "com.microsoft.SimplifiedLayerNormalization"
"""ONNX Runtime keeps it in the standard's domain, where onnx refuses what it does not know."""


def expand(
    graph: Graph, operation: Operation, opset: int, writer: NodeWriter
) -> Iterator[Operation]:
    """Yield the nodes of one operation, whose names of inputs and outputs are final.

    The last node has the operation's name; names before it are made from its output's.
    """
    if operation.kind == LINEAR:
        yield from _linear(graph, operation, writer)
    elif operation.kind == "Gelu" and opset < NATIVE_GELU:  # an exact one, or opset would be 20
        yield from _gelu(operation, writer)
    elif is_padded_whole(operation):
        yield from _padded_pool(graph, operation, writer)
    elif operation.kind == SIMPLIFIED:
        yield from _simplified(graph, operation, opset, writer)
    else:
        yield operation


def _linear(graph: Graph, operation: Operation, writer: NodeWriter) -> Iterator[Operation]:
    source = graph.operation_by_name[operation.name]
    inputs = tuple(name for name in operation.inputs if name)
    if is_gemm(graph, source):
        yield replace(operation, kind="Gemm", inputs=inputs)
    elif len(inputs) == 2:
        yield replace(operation, kind="MatMul", inputs=inputs)
    else:
        product = writer.fresh(f"{source.outputs[0]}_product")
        yield Operation(f"{operation.name}.MatMul", "MatMul", inputs[:2], (product,))
        yield replace(operation, kind="Add", inputs=(product, inputs[2]))


def _gelu(operation: Operation, writer: NodeWriter) -> Iterator[Operation]:
    """Gelu(x) = x * (1 + erf(x / sqrt(2))) / 2, the order that exporters write it in."""
    (x,), (y,) = operation.inputs, operation.outputs
    root = writer.constant(f"{y}.sqrt2", np.float32(np.sqrt(2.0)))
    one = writer.constant(f"{y}.one", np.float32(1))
    half = writer.constant(f"{y}.half", np.float32(0.5))
    names = [writer.fresh(f"{y}_{step}") for step in ("scaled", "erf", "shifted", "doubled")]
    scaled, erf, shifted, doubled = names
    name = operation.name
    yield Operation(f"{name}.Div", "Div", (x, root), (scaled,))
    yield Operation(f"{name}.Erf", "Erf", (scaled,), (erf,))
    yield Operation(f"{name}.Add", "Add", (erf, one), (shifted,))
    yield Operation(f"{name}.Mul", "Mul", (x, shifted), (doubled,))
    yield replace(operation, kind="Mul", inputs=(doubled, half), attributes={})


def _padded_pool(graph: Graph, operation: Operation, writer: NodeWriter) -> Iterator[Operation]:
    """A MaxPool whose padding is as long as its window: the padding is an operation of its own."""
    (x,), (y,) = operation.inputs, operation.outputs
    pads = operation.ints_attribute("pads")
    half, open_axes = len(pads) // 2, (0, 0)
    full = np.array((*open_axes, *pads[:half], *open_axes, *pads[half:]), np.int64)
    dtype = graph.values[graph.operation_by_name[operation.name].inputs[0]].dtype
    lowest = np.array(-np.inf if dtype.is_float else dtype.minimum, dtype.numpy)
    bounds = (writer.constant(f"{y}.pads", full), writer.constant(f"{y}.lowest", lowest))
    padded = writer.fresh(f"{y}_padded")
    yield Operation(f"{operation.name}.Pad", "Pad", (x, *bounds), (padded,))
    attributes = {**operation.attributes, "pads": (0,) * len(pads)}
    yield replace(operation, inputs=(padded,), attributes=attributes)


def _simplified(
    graph: Graph, operation: Operation, opset: int, writer: NodeWriter
) -> Iterator[Operation]:
    """y = x / sqrt(mean(x * x) + epsilon) * scale, the mean over the axes from one on."""
    (x, scale), name = operation.inputs, operation.name
    y, *inverse = operation.outputs
    shape = graph.values[graph.operation_by_name[name].inputs[0]].shape
    axis = operation.int_attribute("axis", -1)
    if shape is None and axis != -1:
        raise UnsupportedError(
            "expected an input of known rank, or the last axis", where=operation.where()
        )
    axes = (-1,) if shape is None else tuple(range(axis % len(shape), len(shape)))
    epsilon = np.float32(operation.float_attribute("epsilon", 1e-5))
    small = writer.constant(f"{y}.epsilon", epsilon)
    names = [writer.fresh(f"{y}_{step}") for step in ("square", "mean", "shifted", "root", "ratio")]
    square, mean, shifted, root, ratio = names
    over: tuple[tuple[str, ...], dict[str, tuple[int, ...]]] = ((square,), {"axes": axes})
    if opset >= AXES_AS_INPUT:
        over = ((square, writer.constant(f"{y}.axes", np.array(axes, np.int64))), {})
    yield Operation(f"{name}.Mul", "Mul", (x, x), (square,))
    yield Operation(f"{name}.ReduceMean", "ReduceMean", over[0], (mean,), over[1])
    yield Operation(f"{name}.Add", "Add", (mean, small), (shifted,))
    yield Operation(f"{name}.Sqrt", "Sqrt", (shifted,), (root,))
    if any(inverse):
        yield Operation(f"{name}.Reciprocal", "Reciprocal", (root,), tuple(inverse))
    yield Operation(f"{name}.Div", "Div", (x, root), (ratio,))
    yield replace(operation, kind="Mul", inputs=(ratio, scale), outputs=(y,), attributes={})
