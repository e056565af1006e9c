"""A graph whose batch dimension is free, made of one that holds it as a constant."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quantable.ir import Graph, Value

BATCH = "?batch"
"""The symbol of the freed dimension."""


def with_free_batch(graph: Graph, batch: int = 1) -> Graph:
    """Return the graph with a symbol in place of a batch, as far as it is written down.

    Inputs and what follows from them get the symbol as their first dimension, and a Reshape to
    [batch, ...] of a tensor [batch, ...] copies its first dimension (0 in the shape). Whether
    another number of samples gives what each gives alone is not known for any graph.
    """
    values = {name: _freed(graph, value, batch) for name, value in graph.values.items()}
    parameters = dict(graph.parameters)
    for op in graph.operations:
        if op.kind != "Reshape" or op.inputs[1] not in graph.parameters:
            continue
        source, shape = graph.values[op.inputs[0]].shape, graph.array(op.inputs[1])
        starts = (source or (0,))[0] == batch and shape.size > 1
        if starts and int(shape.reshape(-1)[0]) == batch and not op.int_attribute("allowzero"):
            copied = np.array(shape)
            copied[0] = 0
            parameters[op.inputs[1]] = graph.store.put(copied)
    return replace(graph, values=values, parameters=parameters)


def _freed(graph: Graph, value: Value, batch: int) -> Value:
    is_batch = value.shape is not None and len(value.shape) > 1 and value.shape[0] == batch
    if not is_batch or value.name in graph.parameters:
        return value
    assert value.shape is not None
    return replace(value, shape=(BATCH, *value.shape[1:]))
