"""The border of a planned network: the integer tensors that the caller owns."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from quantable.ir import DType, Graph, Operation, UnsupportedError, Value

BORDER_KINDS = ("int.Quantize", "int.Dequantize")
"""At the border the caller does them."""


@dataclass(frozen=True, slots=True)
class BorderTensor:
    """An integer tensor that the caller passes in or gets back.

    Attributes:
        name: The float graph input or output that it stands for.
        value: The integer value of the planned graph.
        dtype, shape: Of the integers.
        scale, zero_point: ``real = (quantized - zero_point) * scale``; None for a tensor that is
            an integer in the model itself.
        clamp_min, clamp_max: The range that an input is quantized to.
    """

    name: str
    value: str
    dtype: DType
    shape: tuple[int, ...]
    scale: float | None
    zero_point: int
    clamp_min: int
    clamp_max: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Border:
    """What goes in and what comes out, in the order of the model's inputs and outputs."""

    inputs: tuple[BorderTensor, ...]
    outputs: tuple[BorderTensor, ...]


def border(graph: Graph) -> Border:
    """Return the border of a graph at the planned level.

    Raises:
        UnsupportedError: An input is read as float by something else than int.Quantize, or an
            output is a float that no int.Dequantize makes.
    """
    inputs: list[BorderTensor] = []
    for name in graph.inputs:
        inputs += _inputs_of(graph, name)
    return Border(tuple(inputs), tuple(_output(graph, name) for name in graph.outputs))


def static_shape(value: Value) -> tuple[int, ...]:
    """Return the shape of a value whose dimensions are all known and not empty.

    Raises:
        UnsupportedError: One is not.
    """
    shape = value.shape
    if shape is None or not all(isinstance(dim, int) and dim > 0 for dim in shape):
        raise UnsupportedError(
            f"expected a static shape without empty dimensions, found {shape}",
            where=f"value '{value.name}'",
            help="bind symbolic dimensions when planning the memory",
        )
    return tuple(int(dim) for dim in shape)


def _inputs_of(graph: Graph, name: str) -> list[BorderTensor]:
    value = graph.values[name]
    found = []
    for reader, _ in graph.uses(name):
        if reader.kind != "int.Quantize" and not value.dtype.is_float:
            continue
        if reader.kind != "int.Quantize":
            raise UnsupportedError(
                f"reads the float input '{name}': expected int.Quantize", where=reader.where()
            )
        found.append(_quantized(graph, reader, name, reader.outputs[0]))
    if not value.dtype.is_float and len(found) < max(len(graph.uses(name)), 1):
        found.append(_indices(graph, name))
    return found


def _indices(graph: Graph, name: str) -> BorderTensor:
    """Return an input of integers; where they are indices, those that there are bound it."""
    plain, most = _plain(graph.values[name], name), None
    for reader, slot in graph.uses(name):
        if reader.kind == "Gather" and slot == 1:
            shape = static_shape(graph.values[reader.inputs[0]])
            size = shape[reader.int_attribute("axis") % len(shape)]
            most = size if most is None else min(most, size)
    return plain if most is None else replace(plain, clamp_min=0, clamp_max=most - 1)


def _output(graph: Graph, name: str) -> BorderTensor:
    value = graph.values[name]
    if not value.dtype.is_float:
        return _plain(value, name)
    producer = graph.producers.get(name)
    if producer is None or producer.kind != "int.Dequantize":
        raise UnsupportedError(
            "expected a float output to be made by int.Dequantize", where=f"output '{name}'"
        )
    return _quantized(graph, producer, name, producer.inputs[0])


def _plain(value: Value, name: str) -> BorderTensor:
    low, high = value.dtype.minimum, value.dtype.maximum
    return BorderTensor(name, value.name, value.dtype, static_shape(value), None, 0, low, high)


def _quantized(graph: Graph, operation: Operation, name: str, integers: str) -> BorderTensor:
    value = graph.values[integers]
    return BorderTensor(
        name, integers, value.dtype, static_shape(value),
        operation.float_attribute("scale"), operation.int_attribute("zero_point"),
        operation.int_attribute("clamp_min", value.dtype.minimum),
        operation.int_attribute("clamp_max", value.dtype.maximum),
    )  # fmt: skip
