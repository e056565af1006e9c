"""A walk over layers in topological order, each with its inputs in the network as it is by then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from quantable.ir import Graph, Operation
from quantable.passes.laboratory import Laboratory
from quantable.passes.subgraph import subgraph

Array = npt.NDArray[np.generic]
Values = Mapping[str, Array]


class LayerWalk:
    """Runs every operation once, on all samples, whatever the number of layers.

    The caller may put another graph, with other contents and rows, into `graph` while it is shown a
    layer; what comes behind is computed with it.

    Attributes:
        graph: The quantable graph as it is by now.
    """

    def __init__(self, graph: Graph, laboratory: Laboratory) -> None:
        self.graph = graph
        self._float = graph.dequantized()
        self._laboratory = laboratory
        self._samples = range(laboratory.count)

    def inputs_of(self, layers: Sequence[str]) -> Iterator[tuple[str, Array, Array]]:
        """Yield (operation, its input 0 in the quantized network, in the float one) of layers."""
        wanted = set(layers)
        operations = _ancestors(self.graph, wanted)
        values = self._laboratory.values(self.graph, self.graph.inputs, self._samples)
        quantized: Values = values
        original: Values = values
        start = 0
        for stop, op in enumerate(operations):
            if op.name not in wanted:
                continue
            segment = [item.name for item in operations[start:stop]]
            kept = _read(self.graph, operations[stop:])
            quantized = self._advanced(self.graph, segment, quantized, kept)
            original = self._advanced(self._float, segment, original, kept)
            yield op.name, quantized[op.inputs[0]], original[op.inputs[0]]
            start = stop

    def _advanced(
        self, graph: Graph, segment: Sequence[str], held: Values, kept: Sequence[str]
    ) -> Values:
        """Return the values that are still read behind some operations."""
        part = subgraph(graph, segment)
        made = {name for op in part.operations for name in op.outputs}
        names = [name for name in kept if name in made]
        found: Values = {}
        if names:
            feeds = {name: held[name] for name in part.inputs}
            found = self._laboratory.values(part, names, self._samples, feeds)
        return {n: found[n] if n in found else held[n] for n in kept if n in found or n in held}


def _ancestors(graph: Graph, layers: set[str]) -> list[Operation]:
    """Return layers and what their inputs are made by, in order."""
    needed: set[str] = set()
    found = []
    for op in reversed(graph.operations):
        if op.name in layers or not needed.isdisjoint(op.outputs):
            needed.update(name for name in op.inputs if name)
            found.append(op)
    return found[::-1]


def _read(graph: Graph, operations: Sequence[Operation]) -> list[str]:
    names = dict.fromkeys(n for op in operations for n in op.inputs if n)
    return [name for name in names if name not in graph.parameters]
