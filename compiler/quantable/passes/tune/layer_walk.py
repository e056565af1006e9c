"""A walk over layers in topological order, each with its inputs in the network as it is by then."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantable.ir import Graph, Operation
from quantable.passes.laboratory import Laboratory
from quantable.passes.subgraph import subgraph

Array = npt.NDArray[np.generic]
Values = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class _Step:
    """What is run to come to a layer, or to the ends of the network.

    Attributes:
        layer: The layer, as it was when the walk began; None behind the last one.
        segment: The operations behind the layer before, up to this one.
        kept: The values that are read from there on, and those at the ends.
    """

    layer: Operation | None
    segment: list[str]
    kept: list[str]


class LayerWalk:
    """Runs every operation once, on all samples, whatever the number of layers.

    The caller may put another graph, with other contents and rows, into `graph` while it is shown a
    layer; what comes behind is computed with it.

    Args:
        graph: A quantable graph; its originals are the float network.
        laboratory: Runs it.
        ends: Values that are asked for at the end.

    Attributes:
        graph: The quantable graph as it is by now.
        reached: The ends in the quantized network and in the float one, when all layers were shown.
    """

    def __init__(self, graph: Graph, laboratory: Laboratory, ends: Sequence[str]) -> None:
        self.graph = graph
        self.reached: tuple[Values, Values] = ({}, {})
        self._ends = tuple(ends)
        self._float = graph.dequantized()
        self._laboratory = laboratory
        self._samples = range(laboratory.count)

    def inputs_of(self, layers: Sequence[str]) -> Iterator[tuple[str, Array, Array]]:
        """Yield (operation, its input 0 in the quantized network, in the float one) of layers.

        While the caller is busy with a layer the float network, which no caller changes, goes on.
        """
        quantized: Values = self._laboratory.values(self.graph, self.graph.inputs, self._samples)
        original = quantized
        with ThreadPoolExecutor(1) as pool:
            steps = list(self._steps(layers))
            ahead = pool.submit(self._advanced, self._float, steps[0], original)
            for step, following in itertools.zip_longest(steps, steps[1:]):
                quantized = self._advanced(self.graph, step, quantized)
                original = ahead.result()
                if following is not None:
                    ahead = pool.submit(self._advanced, self._float, following, original)
                if step.layer is not None:
                    source = step.layer.inputs[0]
                    yield step.layer.name, quantized[source], original[source]
        self.reached = quantized, original

    def _steps(self, layers: Sequence[str]) -> Iterator[_Step]:
        wanted, start = set(layers), 0
        operations = _ancestors(self.graph, wanted, self._ends)
        names = [op.name for op in operations]
        for stop, op in enumerate(operations):
            if op.name in wanted:
                yield _Step(op, names[start:stop], self._kept(operations[stop:]))
                start = stop
        yield _Step(None, names[start:], list(self._ends))

    def _kept(self, operations: Sequence[Operation]) -> list[str]:
        read = (name for op in operations for name in op.inputs if name)
        names = dict.fromkeys([*read, *self._ends])
        return [name for name in names if name not in self.graph.parameters]

    def _advanced(self, graph: Graph, step: _Step, held: Values) -> Values:
        """Return the values that are still read behind a step."""
        part = subgraph(graph, step.segment)
        made = {name for op in part.operations for name in op.outputs}
        names = [name for name in step.kept if name in made]
        found: Values = {}
        if names:
            feeds = {name: held[name] for name in part.inputs}
            found = self._laboratory.values(part, names, self._samples, feeds)
        return {
            n: found[n] if n in found else held[n] for n in step.kept if n in found or n in held
        }


def _ancestors(graph: Graph, layers: set[str], ends: Sequence[str]) -> list[Operation]:
    """Return layers and what their inputs and the ends are made by, in order."""
    needed = set(ends)
    found = []
    for op in reversed(graph.operations):
        if op.name in layers or not needed.isdisjoint(op.outputs):
            needed.update(name for name in op.inputs if name)
            found.append(op)
    return found[::-1]
