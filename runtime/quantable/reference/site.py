"""What an operation knows when it is compiled, and the form of what it is compiled to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from quantable.ir import (
    ContentRef,
    ContentStore,
    DType,
    InternalError,
    Operation,
    Shape,
    UnsupportedError,
)
from quantable.reference.tensors import number_type, to_tensor, torch_type

Item = Tensor | list[Tensor] | None
"""What a value is: a tensor, a sequence of them, or an optional value that is absent."""
Kernel = Callable[..., Any]
"""Takes one `Item` an input slot (None where it is absent), returns the output or a tuple of them.

A kernel never writes to its inputs; what it returns may be a view of one.
"""


@dataclass(frozen=True, slots=True)
class Site:
    """An operation in its place.

    Attributes:
        operation: The operation.
        opset: Opset of ai.onnx.
        constants: Input slots that hold parameters.
        input_types, output_types: Element types of the slots (None where unknown or absent).
        store: Contents of attributes that are tensors.
        input_shapes, output_shapes: Shapes of the slots (None where unknown or absent).
        regions: What runs each region, by attribute name: takes the region's inputs, returns its
            outputs.
    """

    operation: Operation
    opset: int = 21
    constants: Mapping[int, Tensor] = field(default_factory=dict)
    input_types: tuple[DType | None, ...] = ()
    output_types: tuple[DType | None, ...] = ()
    store: ContentStore | None = None
    input_shapes: tuple[Shape | None, ...] = ()
    output_shapes: tuple[Shape | None, ...] = ()
    regions: Mapping[str, Callable[..., Sequence[Any]]] = field(default_factory=dict)

    def has(self, slot: int) -> bool:
        """Return whether an optional input is there."""
        return slot < len(self.operation.inputs) and bool(self.operation.inputs[slot])

    def integers(self, slot: int) -> tuple[int, ...] | None:
        """Return the contents of a constant input of integers, None where it is not constant."""
        constant = self.constants.get(slot)
        return None if constant is None else integers(constant)

    def tensor_attribute(self, name: str) -> Tensor | None:
        """Return an attribute that holds a tensor, None where it is absent."""
        ref = self.operation.attributes.get(name)
        if not isinstance(ref, ContentRef):
            return None
        if self.store is None:
            raise InternalError(
                f"attribute '{name}' refers to contents, but no store was given",
                where=self.operation.where(),
            )
        return to_tensor(self.store.get(ref), ref.dtype)

    def number_type(self, name: str) -> DType:
        """Return the element type whose number in ONNX an attribute holds."""
        return number_type(self.operation.int_attribute(name), self.operation.where())

    def torch_type(self, dtype: DType) -> torch.dtype:
        """Return the torch type that holds elements of a type."""
        return torch_type(dtype)

    def output_type(self, index: int = 0) -> DType | None:
        """Return the element type of an output."""
        return self.output_types[index] if index < len(self.output_types) else None

    def input_type(self, index: int = 0) -> DType | None:
        """Return the element type of an input."""
        return self.input_types[index] if index < len(self.input_types) else None

    def input_shape(self, index: int = 0) -> Shape | None:
        """Return the shape of an input."""
        return self.input_shapes[index] if index < len(self.input_shapes) else None

    def output_shape(self, index: int = 0) -> Shape | None:
        """Return the shape of an output."""
        return self.output_shapes[index] if index < len(self.output_shapes) else None

    def refuse(self, what: str) -> UnsupportedError:
        """Return the error for something that the operation asks for and the runtime lacks."""
        return UnsupportedError(what, where=self.operation.where())


Builder = Callable[[Site], Kernel]
"""Compiles an operation: reads attributes and constants once."""


def integers(tensor: Tensor) -> tuple[int, ...]:
    """Return the elements of a tensor of integers."""
    return tuple(int(v) for v in tensor.reshape(-1).tolist())


def fixed(kernel: Kernel) -> Builder:
    """Return the builder of a kernel that depends on nothing but its inputs."""
    return lambda _: kernel
