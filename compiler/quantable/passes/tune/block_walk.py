"""A walk over blocks in topological order, each with its inputs in the network as it is by then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantable.ir import Graph
from quantable.passes.laboratory import Laboratory
from quantable.passes.subgraph import subgraph

Array = npt.NDArray[np.generic]
Values = dict[str, Array]


@dataclass(frozen=True, eq=False)
class BlockValues:
    """Values of all samples at a block's borders.

    Attributes:
        feeds: Inputs in the quantized network.
        originals: Inputs in the float network.
        targets: Outputs in the float network.
    """

    feeds: Values
    originals: Values
    targets: Values


class BlockWalk:
    """Runs every block once in either network, whatever the number of blocks.

    Nothing runs for blocks that nobody asks about, until one behind them is asked about: then
    these are run one by one, so that values are the same bytes whether asked for or not.

    Attributes:
        graph: The quantable graph as it is by now; blocks are run with what it holds when the walk
            has gone by.
    """

    def __init__(
        self, graph: Graph, laboratory: Laboratory, blocks: Sequence[Sequence[str]]
    ) -> None:
        self.graph = graph
        self._float = graph.dequantized()
        self._laboratory, self._blocks = laboratory, blocks
        self._samples = range(laboratory.count)
        self._quantized: Values = {}
        self._original: Values = {}
        self._done = 0

    def values(self, index: int) -> BlockValues:
        """Return the values at the borders of a block; ask in rising order."""
        if not self._quantized:
            given = self._laboratory.values(self.graph, self.graph.inputs, self._samples)
            self._quantized, self._original = dict(given), dict(given)
        while self._done < index:
            self._quantized = self._advanced(self.graph, self._quantized)
            self._original = self._advanced(self._float, self._original)
            self._done += 1
        part = subgraph(self.graph, self._blocks[index])
        original = subgraph(self._float, self._blocks[index])
        targets = self._laboratory.values(
            original, original.outputs, self._samples, _chosen(self._original, original.inputs)
        )
        return BlockValues(
            _chosen(self._quantized, part.inputs), _chosen(self._original, part.inputs), targets
        )

    def _advanced(self, graph: Graph, held: Values) -> Values:
        """Return the values that are still read behind the next block."""
        part = subgraph(graph, self._blocks[self._done])
        behind = {name for block in self._blocks[self._done + 1 :] for name in block}
        kept = {n for op in graph.operations if op.name in behind for n in op.inputs if n}
        names = [name for name in part.outputs if name in kept]
        found: Values = {}
        if names:
            feeds = _chosen(held, part.inputs)
            found = dict(self._laboratory.values(part, names, self._samples, feeds))
        return found | {name: array for name, array in held.items() if name in kept}


def _chosen(held: Mapping[str, Array], names: Sequence[str]) -> Values:
    return {name: held[name] for name in names}
