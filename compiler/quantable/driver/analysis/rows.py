"""A row on another grid, with everything that follows from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from quantable.ir import (
    Granularity,
    Graph,
    QuantableOperation,
    QuantizationParameters,
    TensorQuantizationConfig,
)

Change = Callable[[TensorQuantizationConfig], TensorQuantizationConfig]


def with_row(
    graph: Graph, row: QuantizationParameters, change: Change
) -> tuple[Graph, frozenset[str]]:
    """Return a graph in which a row is another one, and the operations that quantize otherwise.

    Args:
        graph: A quantable graph.
        row: What takes the place of the row of that id; rows of biases that are derived from it
            follow, and what was baked is quantized on the fly.
        change: What happens to the config of every slot that holds the row.
    """
    derived = {
        other.id: _derived(graph, other, row)
        for other in graph.rows.values()
        if row.id in other.derived_from
    }
    operations = {
        op.name: _operation(op, row.id, change, derived)
        for op in graph.quantable_operations
        if any(config.row in (row.id, *derived) for _, _, config in op.config.slots())
    }
    changed = graph.with_operations(operations.values())
    return changed.with_rows([row, *derived.values()]), frozenset(operations)


def _derived(
    graph: Graph, of: QuantizationParameters, row: QuantizationParameters
) -> QuantizationParameters:
    scale = np.ones(1, np.float32)
    for name in of.derived_from:
        scale = scale * (row if name == row.id else graph.rows[name]).scale_array
    return of.filled(scale, np.zeros(scale.shape, np.int64), of.provenance)


def _operation(
    op: QuantableOperation,
    row: str,
    change: Change,
    derived: dict[str, QuantizationParameters],
) -> QuantableOperation:
    op = op.unbake_parameters()
    for side, index, config in op.config.slots():
        if config.row == row:
            op = op.with_slot(side, index, change(config))
        elif config.row in derived:
            is_single = len(derived[config.row].scale) == 1
            op = op.with_slot(side, index, config if is_single else per_channel(config, 0))
    return op


def per_channel(config: TensorQuantizationConfig, axis: int) -> TensorQuantizationConfig:
    """Return a config with a scale for every channel along an axis."""
    policy = replace(config.policy, granularity=Granularity.PER_CHANNEL)
    return replace(config, policy=policy, channel_axis=axis, block_size=0)
