"""A failing graph of 100 operations becomes a handful, the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from quantable.driver.reduce.case import Arrays
from quantable.driver.reduce.reduction import reduce_graph, size_facts
from quantable.ir import (
    ContentStore,
    DType,
    Graph,
    Level,
    Operation,
    OptionError,
    Value,
    graph_digest,
    verify,
)

SHAPE = ("N", 16, 8, 8)
ODD = 58


def _network() -> Graph:
    rng = np.random.default_rng(0)
    store = ContentStore()
    values, parameters, operations = {"x": Value("x", DType.FLOAT32, SHAPE)}, {}, []
    current = before = "x"
    for index in range(100):
        name = f"v{index}"
        values[name] = Value(name, DType.FLOAT32, SHAPE)
        kind, inputs, attributes = "Add", (current, before), {}
        if index % 3 == 0:
            weight = f"w{index}"
            parameters[weight] = store.put(rng.normal(size=(16, 16, 3, 3)).astype(np.float32))
            values[weight] = Value(weight, DType.FLOAT32, (16, 16, 3, 3))
            kind, inputs = "Conv", (current, weight)
            attributes = {"pads": (1, 1, 1, 1), "kernel_shape": (3, 3)}
        elif index % 3 == 1:
            kind, inputs = "HardSwish" if index == ODD else "Relu", (current,)
        else:
            before = name
        operations.append(Operation(f"op{index}", kind, inputs, (name,), attributes))
        current = name
    graph = Graph(
        "chain", Level.FLOAT, 21, ("x",), (current,), values, tuple(operations), parameters,
        store=store,
    )  # fmt: skip
    verify(graph)
    return graph


def _adds_to_a_hard_swish(graph: Graph, inputs: Arrays | None) -> bool:
    makers = [graph.producers.get(op.inputs[0]) for op in graph.operations if op.kind == "Add"]
    return any(maker is not None and maker.kind == "HardSwish" for maker in makers)


def test_a_hundred_operations_become_two() -> None:
    reduced = reduce_graph(_network(), _adds_to_a_hard_swish)
    graph = reduced.case.graph
    verify(graph)
    assert [op.kind for op in graph.operations] == ["HardSwish", "Add"]
    assert {value.shape for value in graph.values.values()} == {(1, 1, 1, 1)}
    assert size_facts(graph)["parameter_elements"] == 0
    assert reduced.calls < 100
    again = reduce_graph(_network(), _adds_to_a_hard_swish)
    assert (graph_digest(again.case.graph), again.calls) == (graph_digest(graph), reduced.calls)


def test_inputs_are_cut_along() -> None:
    rng = np.random.default_rng(1)
    held = {"x": rng.normal(size=(1, 16, 8, 8)).astype(np.float32)}

    def is_fed(graph: Graph, inputs: Arrays | None) -> bool:
        assert inputs is not None
        assert set(inputs) == set(graph.inputs)
        return any(op.kind == "HardSwish" for op in graph.operations)

    case = reduce_graph(_network(), is_fed, held).case
    assert [op.kind for op in case.graph.operations] == ["HardSwish"]
    assert case.inputs is not None
    assert [array.shape for array in case.inputs.values()] == [(1, 1, 1, 1)]


def test_what_is_not_interesting_is_refused() -> None:
    with pytest.raises(OptionError, match="does not find the graph interesting"):
        reduce_graph(_network(), lambda graph, inputs: False)
