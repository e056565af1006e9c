"""How samples are cut into batches, and which operations may share one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from quantable.ir import (
    ContentStore,
    DType,
    Graph,
    Level,
    Operation,
    OperationQuantizationConfig,
    QuantableOperation,
    QuantizationParameters,
    QuantizationPolicy,
    Relation,
    State,
    TensorQuantizationConfig,
    Value,
)
from quantable.training.batches import BatchRunner


def network(kind, *, size=6, held=None, batch=1, attributes=None):
    """Return x -> kind -> y, with a second operand that is a parameter where one is given."""
    store, shape = ContentStore(), (batch, 3, size, size)
    values = {"x": Value("x", DType.FLOAT32, shape), "y": Value("y", DType.FLOAT32, shape)}
    parameters = {}
    if held is not None:
        parameters["p"] = store.put(np.ones(held, np.float32))
        values["p"] = Value("p", DType.FLOAT32, held)
    inputs = ("x", "p") if held is not None else ("x",)
    op = Operation("y", kind, inputs, ("y",), attributes or {})
    return Graph("net", Level.FLOAT, 21, ("x",), ("y",), values, (op,), parameters, store=store)


def batches(graph, count=70, shape=(1, 3, 6, 6)):
    """Return (start, samples) of every batch, and how many reads there were."""
    data = np.random.default_rng(0).standard_normal((count, *shape)).astype(np.float32)
    reads = []

    def read(rows):
        reads.append(len(rows))
        return {"x": data[list(rows)]}

    runner = BatchRunner(graph, read, graph.outputs)
    seen = list(runner.run(range(count), lambda start, found: (start, len(found["y"]))))
    return seen, len(reads)


def test_what_is_plain_is_batched_without_a_trial():
    seen, reads = batches(network("Relu"))
    assert seen == [(0, 64), (64, 6)]
    assert reads == len(seen)


def test_a_batch_is_cut_by_the_largest_value_not_by_the_input():
    graph = network("Relu")
    assert batches(graph)[0][0] == (0, 64)
    larger = replace(graph.values["y"], shape=(1, 3, 180, 180))
    seen, _ = batches(replace(graph, values={**graph.values, "y": larger}))
    assert {count for _, count in seen} == {5}, "2^19 elements"


def test_parameters_do_not_count_as_values():
    graph = network("Mul", held=(1, 3, 6, 6))
    larger = replace(graph.values["p"], shape=(1, 3, 1800, 1800))
    assert batches(replace(graph, values={**graph.values, "p": larger}))[0][0] == (0, 64)


@pytest.mark.parametrize(
    ("kind", "held", "batch"),
    [
        ("LpNormalization", None, 1),
        ("Relu", None, "N"),
        ("Add", (2, 3, 6, 6), 1),
    ],
)
def test_what_is_not_plain_is_tried(kind, held, batch):
    graph = network(kind, held=held, batch=batch, attributes={"axis": 1} if held is None else None)
    seen, reads = batches(graph, count=4)
    assert reads == len(seen) + 1


def test_samples_that_would_mix_run_one_by_one():
    seen, _ = batches(network("Softmax", attributes={"axis": 0}), count=4)
    assert seen == [(index, 1) for index in range(4)]


def test_what_is_quantized_by_its_own_range_is_tried():
    """A range of two samples together is that of neither."""
    graph = network("Relu")
    free = TensorQuantizationConfig()
    own = TensorQuantizationConfig(
        QuantizationPolicy(dynamic=True), state=State.ACTIVATED, relation=Relation.OWN, row="r"
    )
    config = OperationQuantizationConfig((own,), (free,))
    op = QuantableOperation.create(graph.operations[0], config, "c-portable", {})
    quantable = replace(
        graph, level=Level.QUANTABLE, operations=(op,), rows={"r": QuantizationParameters("r")}
    )
    seen, reads = batches(quantable, count=4)
    assert reads == len(seen) + 1
