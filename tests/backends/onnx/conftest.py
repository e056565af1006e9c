"""Hand-made graphs for the tests of the ONNX backend, as fixtures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
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
    verify,
)

FP32 = TensorQuantizationConfig()
ASYMMETRIC = QuantizationPolicy(symmetry=Symmetry.ASYMMETRIC)
PER_CHANNEL = QuantizationPolicy(Granularity.PER_CHANNEL)


def activation(
    row: str, *, state: State = State.ACTIVATED, bits: int = 8, low: int | None = None
) -> TensorQuantizationConfig:
    """Return an unsigned asymmetric config (a signed one of `low`) in a state."""
    minimum = 0 if low is None else low
    relation = Relation.OVERLAPPED if state is State.OVERLAPPED else Relation.OWN
    return TensorQuantizationConfig(
        ASYMMETRIC, bits, 0, minimum, minimum + (1 << bits) - 1,
        state=state, relation=relation, row=row,
    )  # fmt: skip


def weight(row: str, axis: int = 0, bits: int = 8) -> TensorQuantizationConfig:
    """Return a symmetric per-channel config."""
    top = (1 << (bits - 1)) - 1
    return TensorQuantizationConfig(
        PER_CHANNEL, bits, 0, -top, top, channel_axis=axis,
        state=State.ACTIVATED, relation=Relation.OWN, row=row,
    )  # fmt: skip


def bias(row: str) -> TensorQuantizationConfig:
    """Return the derived int32 config of a bias."""
    return TensorQuantizationConfig(
        PER_CHANNEL, 32, 0, -(2**31), 2**31 - 1, channel_axis=0,
        state=State.PASSIVE, relation=Relation.DERIVED, row=row,
    )  # fmt: skip


def make_plain_graph(
    operations: list[Operation],
    inputs: dict[str, tuple[int | str, ...]],
    outputs: dict[str, tuple[int | str, ...]],
    parameters: dict[str, np.ndarray],
    **fields: object,
) -> Graph:
    """Return a verified float graph; intermediate values have no known shape."""
    store = ContentStore()
    refs = {name: store.put(array) for name, array in parameters.items()}
    values = {name: Value(name, ref.dtype, ref.shape) for name, ref in refs.items()}
    for name, shape in {**inputs, **outputs}.items():
        values[name] = Value(name, DType.FLOAT32, shape)
    for op in operations:
        for name in op.outputs:
            values.setdefault(name, Value(name, DType.FLOAT32))
    graph = Graph(
        "hand-made", opset=21, inputs=tuple(inputs), outputs=tuple(outputs), values=values,
        operations=tuple(operations), parameters=refs, store=store, **fields,
    )  # fmt: skip
    verify(graph)
    return graph


def make_conv_relu(*, bits: int = 8, baked: bool = True) -> Graph:
    """Return Conv -> Relu -> Conv, quantized: a fused pair, and a tail that stays float."""
    rng = np.random.default_rng(5)
    arrays = {
        "w1": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "b1": rng.normal(size=4).astype(np.float32),
        "w2": rng.normal(size=(2, 4, 1, 1)).astype(np.float32),
    }
    rows = _conv_relu_rows(arrays["w1"], arrays["w2"], bits)
    covered = activation("r.out0", state=State.OVERLAPPED)
    plain = [
        Operation("c1", "Conv", ("x", "w1", "b1"), ("y1",), {"pads": (1, 1, 1, 1)}),
        Operation("r", "Relu", ("y1",), ("y2",)),
        Operation("c2", "Conv", ("y2", "w2"), ("out",)),
    ]
    configs = [
        ((activation("c1.in0"), weight("c1.in1", bits=bits), bias("c1.in2")), (covered,)),
        ((covered,), (activation("r.out0"),)),
        ((covered, weight("c2.in1", bits=bits)), (FP32,)),
    ]
    shapes = {"x": ("N", 3, 8, 8)}, {"out": ("N", 2, 8, 8)}
    graph = make_plain_graph(plain, *shapes, arrays)
    made = [
        QuantableOperation.create(op, OperationQuantizationConfig(*slots), "test", graph.parameters)
        for op, slots in zip(plain, configs, strict=True)
    ]
    if baked:
        made = [op.bake_parameters(graph.parameters, rows, graph.store) for op in made]
    quantized = Graph(
        graph.name, Level.QUANTABLE, 21, graph.inputs, graph.outputs, graph.values, tuple(made),
        graph.parameters, rows, store=graph.store,
    )  # fmt: skip
    verify(quantized)
    return quantized


def _conv_relu_rows(
    first: npt.NDArray[np.float32], second: npt.NDArray[np.float32], bits: int
) -> dict[str, QuantizationParameters]:
    rows = {
        "c1.in0": QuantizationParameters("c1.in0", (0.02,), (117,)),
        "r.out0": QuantizationParameters("r.out0", (0.05,), (3,)),
    }
    top = (1 << (bits - 1)) - 1
    for name, weights in (("c1.in1", first), ("c2.in1", second)):
        peak = np.abs(weights).max(axis=(1, 2, 3))
        rows[name] = QuantizationParameters(name).filled(peak / top, 0, "test")
    derived = np.float32(0.02) * rows["c1.in1"].scale_array
    empty = QuantizationParameters("c1.in2", derived_from=("c1.in0", "c1.in1"))
    rows["c1.in2"] = empty.filled(derived, 0, "test")
    return rows


def _quantized_inputs(slots: list[TensorQuantizationConfig], **rows: float) -> Graph:
    """Return one Relu of x for each config of its input slot; the last one's output is y."""
    names = [f"r{i}" for i in range(len(slots))]
    outs = [*(f"y{i}" for i in range(len(slots) - 1)), "y"]
    plain = [Operation(n, "Relu", ("x",), (out,)) for n, out in zip(names, outs, strict=True)]
    graph = make_plain_graph(plain, {"x": ("N",)}, dict.fromkeys(outs, ("N",)), {})
    made = [
        QuantableOperation.create(op, OperationQuantizationConfig((slot,), (FP32,)), "test", {})
        for op, slot in zip(plain, slots, strict=True)
    ]
    filled = {row: QuantizationParameters(row, (scale,), (20,)) for row, scale in rows.items()}
    quantized = Graph(
        graph.name, Level.QUANTABLE, 21, graph.inputs, graph.outputs, graph.values, tuple(made),
        rows=filled, store=graph.store,
    )  # fmt: skip
    verify(quantized)
    return quantized


@pytest.fixture
def plain_graph() -> Callable[..., Graph]:
    return make_plain_graph


@pytest.fixture
def conv_relu() -> Callable[..., Graph]:
    return make_conv_relu


@pytest.fixture
def shared_input() -> Graph:
    """Three readers of x: two with one row, one with another."""
    first, other = activation("a"), activation("b")
    again = replace(first, state=State.PASSIVE, relation=Relation.SHARED)
    return _quantized_inputs([first, again, other], a=0.5, b=0.25)


@pytest.fixture
def narrow_input() -> Graph:
    """A reader of x with a range of 5 bits in an 8-bit type."""
    return _quantized_inputs([activation("a", bits=5)], a=0.1)
