"""Which slots see numbers that a row's quantizer made: they are overlapped."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from quantable.ir import (
    Graph,
    Operation,
    OperationQuantizationConfig,
    QuantableOperation,
    Relation,
    State,
    TensorQuantizationConfig,
)
from quantable.passes.canonicalize.quantizer_forms import QUANTIZERS, moves_elements


def with_overlaps(
    graph: Graph, platform: str, *, is_all: bool = False, passive: Collection[str] = ()
) -> Graph:
    """Return a graph with configs whose other slots are overlapped where they see a row's grid.

    A grid flows from the slot that quantizes a tensor to its readers, and through passive
    operations where it is one for the whole tensor.

    Args:
        graph: Operations with configs of slots that quantize, and others.
        platform: Of operations that become quantable.
        is_all: Whether every operation becomes quantable, and not only those that move elements.
        passive: Kinds that make numbers on the grid of their first input, whatever they do.
    """
    flow = _Flow(graph, {}, platform, is_all, passive)
    return replace(graph, operations=tuple(flow.visited(op) for op in graph.operations))


@dataclass
class _Flow:
    graph: Graph
    grids: dict[str, TensorQuantizationConfig]
    platform: str
    is_all: bool
    passive: Collection[str]

    def visited(self, op: Operation) -> Operation:
        """Return an operation with its overlapped slots, and note the grids that it makes."""
        moves = op.kind in self.passive or moves_elements(self.graph, op)
        if not isinstance(op, QuantableOperation):
            is_moved = moves and op.inputs[0] in self.grids
            if not is_moved and not (self.is_all and op.kind not in QUANTIZERS):
                return op
            none = OperationQuantizationConfig.of_floats(len(op.inputs), len(op.outputs))
            op = QuantableOperation.create(op, none, self.platform, self.graph.parameters)
        for index, name in enumerate(op.inputs):
            if name in self.grids and not op.config.inputs[index].row:
                op = op.with_slot("in", index, self.grids[name])
        for index, name in enumerate(op.outputs):
            held = op.config.outputs[index]
            if not held.row and moves and self._flows(op, name):
                held = _overlapped(op.config.inputs[0])
                op = op.with_slot("out", index, held)
            if held.row:
                self.grids[name] = _overlapped(held)
        return op

    def _flows(self, op: QuantableOperation, value: str) -> bool:
        held = op.config.inputs[0]
        is_one = bool(held.row) and not held.policy.has_axis and not held.state.is_baked
        return is_one and bool(value) and self.graph.values[value].is_real


def _overlapped(config: TensorQuantizationConfig) -> TensorQuantizationConfig:
    return replace(config, state=State.OVERLAPPED, relation=Relation.OVERLAPPED, observer="")


def with_derived_biases(graph: Graph, kinds: tuple[str, ...]) -> Graph:
    """Return the graph with baked biases whose scale is the product of both scales derived."""
    rows = dict(graph.rows)
    changed: list[Operation] = []
    for op in graph.quantable_operations:
        if op.kind not in kinds or len(op.inputs) < 3:
            continue
        source, weight, bias = op.config.inputs[:3]
        if not (source.row and weight.row and bias.state is State.BAKED and bias.bits == 32):
            continue
        product = rows[source.row].scale_array * rows[weight.row].scale_array
        if weight.policy.is_per_block or not np.array_equal(product, rows[bias.row].scale_array):
            continue
        rows[bias.row] = replace(rows[bias.row], derived_from=(source.row, weight.row))
        derived = replace(bias, state=State.PASSIVE_BAKED, relation=Relation.DERIVED)
        changed.append(op.with_slot("in", 2, derived))
    return replace(graph.with_operations(changed), rows=rows)
