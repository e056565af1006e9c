"""A small quantable graph: Conv(x, w, b) -> c, Relu(c) -> y, with every relation in it."""

from __future__ import annotations

import numpy as np
import pytest

from quantable.ir import (
    ContentStore,
    DType,
    Granularity,
    Graph,
    Level,
    Operation,
    OperationQuantizationConfig,
    QuantableOperation,
    QuantizationParameters,
    QuantizationPolicy,
    Relation,
    State,
    Symmetry,
    TensorQuantizationConfig,
    Value,
)

PER_CHANNEL = QuantizationPolicy(Granularity.PER_CHANNEL)
ASYMMETRIC = QuantizationPolicy(symmetry=Symmetry.ASYMMETRIC)
ACTIVATION = TensorQuantizationConfig(
    ASYMMETRIC, quant_min=0, quant_max=255, state=State.ACTIVATED, relation=Relation.OWN
)
WEIGHT = TensorQuantizationConfig(
    PER_CHANNEL,
    bits=4,
    quant_min=-7,
    quant_max=7,
    channel_axis=0,
    state=State.ACTIVATED,
    relation=Relation.OWN,
    row="conv.in1",
)
BIAS = TensorQuantizationConfig(
    PER_CHANNEL,
    bits=32,
    quant_min=-(2**31),
    quant_max=2**31 - 1,
    channel_axis=0,
    state=State.PASSIVE,
    relation=Relation.DERIVED,
    row="conv.in2",
)


def _activation(row: str, state: State, relation: Relation) -> TensorQuantizationConfig:
    return TensorQuantizationConfig(
        ASYMMETRIC, quant_min=0, quant_max=255, state=state, relation=relation, row=row
    )


def _rows() -> dict[str, QuantizationParameters]:
    sx, sw = np.float32(0.1), np.asarray([0.25, 0.5], np.float32)
    rows = (
        QuantizationParameters("conv.in0").filled(sx, 128, "calibrate minmax"),
        QuantizationParameters("conv.in1").filled(sw, 0, "calibrate minmax"),
        QuantizationParameters("conv.in2", derived_from=("conv.in0", "conv.in1")).filled(
            sx * sw, 0, "passive-parameters"
        ),
        QuantizationParameters("relu.out0").filled(0.05, 0, "calibrate percentile"),
    )
    return {row.id: row for row in rows}


@pytest.fixture
def graph() -> Graph:
    store = ContentStore()
    parameters = {
        "w": store.put(np.asarray([[[[1.1]]], [[[-2.0]]]], np.float32)),
        "b": store.put(np.asarray([0.26, -1.0], np.float32)),
    }
    shapes = {"x": ("N", 1, 4, 4), "c": ("N", 2, 4, 4), "y": ("N", 2, 4, 4)}
    values = {name: Value(name, DType.FLOAT32, shape) for name, shape in shapes.items()}
    values |= {name: Value(name, ref.dtype, ref.shape) for name, ref in parameters.items()}
    own, over = (State.ACTIVATED, Relation.OWN), (State.OVERLAPPED, Relation.OVERLAPPED)
    conv = QuantableOperation.create(
        Operation("conv", "Conv", ("x", "w", "b"), ("c",), {"group": 1}, ("/conv/Conv",)),
        OperationQuantizationConfig(
            (_activation("conv.in0", *own), WEIGHT, BIAS), (_activation("relu.out0", *over),)
        ),
        "c-portable",
        parameters,
    )
    relu = QuantableOperation.create(
        Operation("relu", "Relu", ("c",), ("y",)),
        OperationQuantizationConfig(
            (_activation("relu.out0", *over),), (_activation("relu.out0", *own),)
        ),
        "c-portable",
        parameters,
    )
    return Graph(
        "small", Level.QUANTABLE, 21, ("x",), ("y",), values, (conv, relu), parameters, _rows(),
        "c-portable", store=store,
    )  # fmt: skip


@pytest.fixture
def conv(graph: Graph) -> QuantableOperation:
    operation = graph.operation_by_name["conv"]
    assert isinstance(operation, QuantableOperation)
    return operation


@pytest.fixture
def baked(graph: Graph, conv: QuantableOperation) -> Graph:
    done = conv.bake_parameters(graph.parameters, graph.rows, graph.store)
    return graph.with_operation(done)
