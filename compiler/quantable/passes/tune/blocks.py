"""Blocks of a network: parts between values at which it is narrow."""

from __future__ import annotations

from collections.abc import Sequence

from quantable.ir import Graph
from quantable.ir.profile import INPUT_CHANNEL_AXIS
from quantable.passes.subgraph import subgraph

Block = tuple[str, ...]
"""Names of operations, in the order of the graph."""
_WIDE = 2
"""A part without narrow places is cut anyway once it has so many times the wanted layers."""

_REST = 2
"""The end of a network is a block of its own if it has more than 1 / so many of these layers."""


def blocks(graph: Graph, size: int) -> list[Block]:
    """Return a graph's operations, cut where just one value is needed further on.

    There a residual or transformer block ends. Neighbours are merged while they have at most `size`
    layers (operations with weights) together; a part that is never narrow, between the skips of a
    U-Net for instance, is cut into blocks of `size` layers. What is left at the end, a classifier
    for instance, belongs to the last block, which then is fitted to the outputs of the network:
    what is close before a classifier need not be so behind it.

    Args:
        graph: Of any level.
        size: Layers of a block, at least 1.
    """
    found = _merged(graph, size)
    if len(found) > 1 and _REST * _layers(graph, found[-1]) <= size:
        found[-2:] = [found[-2] + found[-1]]
    return found


def borders(graph: Graph, size: int) -> list[str]:
    """Return the values at which blocks end, and where the last one was joined with the rest."""
    ends = [name for block in _merged(graph, size) for name in subgraph(graph, set(block)).outputs]
    return [name for name in ends if graph.values[name].is_real]


def _merged(graph: Graph, size: int) -> list[Block]:
    found: list[Block] = []
    current: Block = ()
    for part in _parts(graph, size):
        count = _layers(graph, current)
        if count and _layers(graph, part) and count + _layers(graph, part) > size:
            found.append(current)
            current = ()
        current += part
    return [*found, current] if current else found


def _parts(graph: Graph, size: int) -> list[Block]:
    found = []
    for part in _narrow_parts(graph):
        if _layers(graph, part) < _WIDE * size:
            found.append(part)
            continue
        current: Block = ()
        for name in part:
            if _layers(graph, current) == size and _layers(graph, (name,)):
                found.append(current)
                current = ()
            current += (name,)
        found.append(current)
    return found


def _narrow_parts(graph: Graph) -> list[Block]:
    """Return operations, cut behind each one after which a single value is alive."""
    last = {name: len(graph.operations) for name in graph.outputs}
    for index, op in enumerate(graph.operations):
        for name in op.inputs:
            if name and name not in graph.parameters:
                last[name] = max(last.get(name, -1), index)
    alive = {name for name in graph.inputs if name in last}
    found: list[Block] = []
    current: Block = ()
    for index, op in enumerate(graph.operations):
        current += (op.name,)
        alive = {name for name in (*alive, *op.outputs) if last.get(name, -1) > index}
        if len(alive) == 1:
            found.append(current)
            current = ()
    return [*found, current] if current else found


def _layers(graph: Graph, names: Sequence[str]) -> int:
    return sum(graph.operation_by_name[name].kind in INPUT_CHANNEL_AXIS for name in names)
