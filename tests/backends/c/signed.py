"""The same network on signed bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quantable.ir import ContentStore, DType, Graph, Value

_SHIFTED = (
    "x_zero_point",
    "y_zero_point",
    "a_zero_point",
    "b_zero_point",
    "clamp_min",
    "clamp_max",
)


def signed(graph: Graph) -> Graph:
    """Return a network whose unsigned bytes are signed ones, less by 128; its plan stays right."""
    values = {
        name: Value(name, DType.INT8, value.shape) if value.dtype is DType.UINT8 else value
        for name, value in graph.values.items()
    }
    store = ContentStore()
    parameters = {}
    for name in graph.parameters:
        array, dtype = graph.array(name), graph.values[name].dtype
        if dtype is DType.UINT8:
            array, dtype = (array.astype(np.int16) - 128).astype(np.int8), DType.INT8
        parameters[name] = store.put(np.asarray(array), dtype)
    operations = tuple(
        replace(op, attributes={
            key: value - 128 if key in _SHIFTED and isinstance(value, int) else value
            for key, value in op.attributes.items()
        })
        for op in graph.operations
    )  # fmt: skip
    return replace(graph, values=values, parameters=parameters, operations=operations, store=store)
