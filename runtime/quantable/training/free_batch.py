"""A graph whose batch dimension is free, made of one that holds it as the constant 1."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quantable.ir import Graph, Value

BATCH = "?batch"
"""The symbol of the freed dimension."""


def with_free_batch(graph: Graph) -> Graph:
    """Return the graph with a symbol in place of a batch of 1, as far as it is written down.

    Inputs and what follows from them get the symbol as their first dimension, and a Reshape to
    [1, ...] of a tensor [1, ...] copies its first dimension (0 in the shape). Whether several
    samples at once give what each gives alone is not known for any graph: the caller compares.
    """
    values = {name: _freed(graph, value) for name, value in graph.values.items()}
    parameters = dict(graph.parameters)
    for op in graph.operations:
        if op.kind != "Reshape" or op.inputs[1] not in graph.parameters:
            continue
        source, shape = graph.values[op.inputs[0]].shape, graph.array(op.inputs[1])
        starts = (source or (0,))[0] == 1 and shape.size > 1 and int(shape.reshape(-1)[0]) == 1
        if starts and not op.int_attribute("allowzero"):
            copied = np.array(shape)
            copied[0] = 0
            parameters[op.inputs[1]] = graph.store.put(copied)
    return replace(graph, values=values, parameters=parameters)


def _freed(graph: Graph, value: Value) -> Value:
    is_batch = value.shape is not None and len(value.shape) > 1 and value.shape[0] == 1
    if not is_batch or value.name in graph.parameters:
        return value
    assert value.shape is not None
    return replace(value, shape=(BATCH, *value.shape[1:]))
