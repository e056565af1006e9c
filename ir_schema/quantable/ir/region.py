"""Regions: graphs inside an operation (the branches of an If, the body of a Loop).

A region is isolated: it sees its own inputs and parameters, and nothing of the graph around it.
What an ONNX sub-graph reads of the outer scope is an input of the operation and of the region, so
that whatever works on operands (liveness, dead code, renaming, fusing) is right without knowing
regions.
The operation says with the attribute ``captures`` how many of its last operands these are: they go
to the last inputs of each of its regions, in every iteration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from quantable.ir.contents import ContentRef
from quantable.ir.values import Value

if TYPE_CHECKING:
    from quantable.ir.operation import Operation

CAPTURES = "captures"
"""Attribute of operations with regions: how many operands each region gets as they are."""


@dataclass(frozen=True)
class Region:
    """A graph of float operations inside an operation; named like a graph, in a scope of its own.

    Attributes:
        name: Name of the sub-graph.
        inputs, outputs: Names of values.
        values: Every value by name, parameters included.
        operations: In topological order; they may have regions themselves.
        parameters: Contents of the constant values, by value name; in the store of the graph.
    """

    name: str = ""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    values: Mapping[str, Value] = field(default_factory=dict)
    operations: tuple[Operation, ...] = ()
    parameters: Mapping[str, ContentRef] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("values", "parameters"):
            ordered = MappingProxyType(dict(sorted(getattr(self, name).items())))
            object.__setattr__(self, name, ordered)

    def contents(self) -> Iterator[ContentRef]:
        """Return everything that it refers to in the store, regions inside it included."""
        yield from self.parameters.values()
        for operation in self.operations:
            yield from operation.attribute_contents()
