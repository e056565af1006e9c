"""The runtime: inputs, outputs, hooks, states of slots, threads, and what it must not change."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from quantable.ir import (
    DataError,
    DType,
    Graph,
    Level,
    Operation,
    OperationQuantizationConfig,
    QuantableOperation,
    QuantizationParameters,
    Relation,
    State,
    TensorQuantizationConfig,
    UnknownNameError,
    UnsupportedError,
    graph_digest,
)
from quantable.reference import FloatExecutor, ReferenceRuntime, one_thread

GraphOf = Callable[..., Graph]
F32 = DType.FLOAT32
W = np.array([[0.3, -0.7], [1.4, 0.26]], np.float32)


@pytest.fixture
def graph(graph_of: GraphOf) -> Graph:
    """y = Relu(x @ w + x2), with a value that nobody reads."""
    operations = [
        Operation("product", "MatMul", ("x", "w"), ("p",)),
        Operation("unread", "Exp", ("p",), ("u",)),
        Operation("sum", "Add", ("p", "x2"), ("s",)),
        Operation("relu", "Relu", ("s",), ("y",)),
    ]
    shapes = {"x": (F32, ("N", 2)), "x2": (F32, ("N", 2))}
    made = dict.fromkeys(("p", "u", "s", "y"), F32)
    result: Graph = graph_of(Level.FLOAT, operations, shapes, {"w": W}, made)
    return result


@pytest.fixture
def inputs(rng: Any) -> dict[str, np.ndarray]:
    return {name: rng.normal(size=(3, 2)).astype(np.float32) for name in ("x", "x2")}


def test_any_value_is_an_output(graph: Graph, inputs: Any) -> None:
    runtime = ReferenceRuntime(graph)
    found = runtime.run(inputs, ["s", "x", "w", "u", "s"])
    assert list(found) == ["s", "x", "w", "u"]
    np.testing.assert_allclose(found["s"], inputs["x"] @ W + inputs["x2"], rtol=1e-5)
    np.testing.assert_array_equal(found["w"], W)
    found["x"][:] = 0  # results are the caller's own
    found["w"][:] = 0
    np.testing.assert_array_equal(runtime.run(inputs)["y"], runtime.run(inputs, ["y"])["y"])
    with pytest.raises(UnknownNameError, match="unknown value 'yy'"):
        runtime.run(inputs, ["yy"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": None}, "input 'x' is missing: expected x, x2, found x2"),
        ({"z": np.zeros(1)}, "no input is named 'z': expected x, x2"),
        ({"x": np.zeros((3, 2))}, "input 'x': expected element type float32, found float64"),
        (
            {"x": np.zeros((3, 4), np.float32)},
            r"input 'x': expected shape \[N, 2\], found \[3, 4\]",
        ),
        ({"x": np.zeros(3, np.float32)}, r"expected shape \[N, 2\], found \[3\]"),
        ({"x2": np.zeros((4, 2), np.float32)}, r"with N = 3 as in 'x', found \[4, 2\]"),
    ],
)
def test_wrong_inputs_are_named(graph: Graph, inputs: Any, change: Any, message: str) -> None:
    given = {name: array for name, array in {**inputs, **change}.items() if array is not None}
    with pytest.raises(DataError, match=message):
        ReferenceRuntime(graph).run(given)


def test_all_unknown_operations_are_listed_at_once(graph_of: GraphOf) -> None:
    operations = [
        Operation("a", "Frobnicate", ("x",), ("p",), sources=("node1",)),
        Operation("b", "Resize", ("p",), ("y",), {"mode": "septic"}),
    ]
    made = {"p": F32, "y": F32}
    graph = graph_of(Level.FLOAT, operations, {"x": (F32, (1, 1, 4, 4))}, {}, made)
    with pytest.raises(UnsupportedError, match=r"2 operations.*'a' \(Frobnicate from node1.*'b'"):
        ReferenceRuntime(graph)


def test_an_operation_that_fails_is_named(graph_of: GraphOf) -> None:
    operation = Operation("flat", "Reshape", ("x", "shape"), ("y",))
    parameters = {"shape": np.array([1, 8], np.int64)}
    graph = graph_of(Level.FLOAT, [operation], {"x": (F32, ("N", 8))}, parameters, {"y": F32})
    with pytest.raises(DataError, match=r"operation 'flat' \(Reshape\).*shape \[2, 8\]"):
        ReferenceRuntime(graph).run({"x": np.zeros((2, 8), np.float32)})


def test_hooks_see_every_slot_and_may_replace(graph: Graph, inputs: Any) -> None:
    seen = []

    def look(op: Operation, side: str, index: int, value: str, tensor: torch.Tensor) -> None:
        seen.append((op.name, side, index, value, tuple(tensor.shape)))

    def negate(
        op: Operation, side: str, index: int, value: str, tensor: torch.Tensor
    ) -> torch.Tensor | None:
        return -tensor if (op.name, side) == ("sum", "out") else None

    found = ReferenceRuntime(graph, hooks=(negate, look)).run(inputs, ["y", "s", "u"])
    s = -(inputs["x"] @ W + inputs["x2"])
    np.testing.assert_allclose(found["s"], s, rtol=1e-5)
    np.testing.assert_allclose(found["y"], np.maximum(s, 0), rtol=1e-5)
    assert seen == [
        ("product", "in", 0, "x", (3, 2)), ("product", "in", 1, "w", (2, 2)),
        ("product", "out", 0, "p", (3, 2)),
        ("unread", "in", 0, "p", (3, 2)), ("unread", "out", 0, "u", (3, 2)),
        ("sum", "in", 0, "p", (3, 2)), ("sum", "in", 1, "x2", (3, 2)),
        ("sum", "out", 0, "s", (3, 2)),
        ("relu", "in", 0, "s", (3, 2)), ("relu", "out", 0, "y", (3, 2)),
    ]  # fmt: skip


def test_runs_at_once_give_the_same_bits_and_change_nothing(graph: Graph, inputs: Any) -> None:
    runtime, digest, threads = ReferenceRuntime(graph), graph_digest(graph), torch.get_num_threads()
    expected, found = runtime.run(inputs)["y"], []
    workers = [
        threading.Thread(target=lambda: found.extend(runtime.run(inputs)["y"] for _ in range(50)))
        for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 150
    assert all(np.array_equal(result, expected) for result in found)
    assert graph_digest(graph) == digest
    assert torch.get_num_threads() == threads


def test_the_number_of_threads_comes_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with one_thread(), one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
        with pytest.raises(ZeroDivisionError), one_thread():
            raise ZeroDivisionError
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_the_executor_runs_one_operation(rng: Any) -> None:
    x = rng.normal(size=(2, 3)).astype(np.float32)
    clip = Operation("clip", "Clip", ("x", "", "high"), ("y",))
    (y,) = FloatExecutor().run_operation(clip, [x, None, np.float32(0.5)])
    np.testing.assert_array_equal(y, np.minimum(x, np.float32(0.5)))
    with pytest.raises(UnsupportedError, match="no operation Nope"):
        FloatExecutor().run_operation(Operation("n", "Nope", ("x",), ("y",)), [x])


def _quantable(graph: Graph) -> Graph:
    """Quantize x, w and the output of the product, by 1/4, 1/8 and 1/2."""
    free = TensorQuantizationConfig()
    own = replace(free, state=State.ACTIVATED, relation=Relation.OWN)
    config = OperationQuantizationConfig(
        (replace(own, row="x"), replace(own, row="w")), (replace(own, row="p"),)
    )
    plain = graph.operation_by_name["product"]
    op = QuantableOperation.create(plain, config, "test", graph.parameters)
    rows = [
        QuantizationParameters(name).filled([scale], 0, "test")
        for name, scale in (("x", 0.25), ("w", 0.125), ("p", 0.5))
    ]
    return replace(graph.with_operation(op), level=Level.QUANTABLE).with_rows(rows)


def _rounded(x: np.ndarray, scale: float) -> np.ndarray:
    return (np.clip(np.rint(x / np.float32(scale)), -128, 127) * np.float32(scale)).astype(
        np.float32
    )


def test_slots_in_force_are_quantized(graph: Graph, inputs: Any) -> None:
    quantable = _quantable(graph)
    found = ReferenceRuntime(quantable).run(inputs, ["p"])["p"]
    expected = _rounded(_rounded(inputs["x"], 0.25) @ _rounded(W, 0.125), 0.5)
    np.testing.assert_array_equal(found, expected)
    seen = []
    ReferenceRuntime(quantable, hooks=(lambda *slot: seen.append(slot[4].numpy()),)).run(inputs)
    np.testing.assert_array_equal(seen[0], _rounded(inputs["x"], 0.25))
    np.testing.assert_array_equal(seen[1], _rounded(W, 0.125))
    np.testing.assert_array_equal(seen[2], expected)


def test_baking_changes_no_bit(graph: Graph, inputs: Any) -> None:
    quantable = _quantable(graph)
    op = quantable.quantable_operations[0]
    baked = quantable.with_operation(
        op.bake_parameters(quantable.parameters, quantable.rows, quantable.store)
    )
    expected = ReferenceRuntime(quantable).run(inputs, ["p"])["p"]
    np.testing.assert_array_equal(ReferenceRuntime(baked).run(inputs, ["p"])["p"], expected)
    for suspended in (quantable.dequantized(), baked.dequantized()):
        found = ReferenceRuntime(suspended).run(inputs, ["p"])["p"]
        np.testing.assert_array_equal(found, ReferenceRuntime(graph).run(inputs, ["p"])["p"])
        restored = ReferenceRuntime(suspended.restored()).run(inputs, ["p"])["p"]
        np.testing.assert_array_equal(restored, expected)
    only = quantable.with_operation(op.dequantize(parameters_only=True))
    found = ReferenceRuntime(only).run(inputs, ["p"])["p"]
    np.testing.assert_array_equal(found, _rounded(_rounded(inputs["x"], 0.25) @ W, 0.5))


def test_suspended_parameters_are_the_originals(graph: Graph, inputs: Any) -> None:
    """A pass that changes a parameter does not change what `dequantize` brings back."""
    quantable = _quantable(graph)
    changed = quantable.store.put(W * 2)
    parameters = {**quantable.parameters, "w": changed}
    quantable = replace(quantable, parameters=parameters)
    found = ReferenceRuntime(quantable).run(inputs, ["p"])["p"]
    expected = _rounded(_rounded(inputs["x"], 0.25) @ _rounded(W * 2, 0.125), 0.5)
    np.testing.assert_array_equal(found, expected)
    found = ReferenceRuntime(quantable.dequantized()).run(inputs, ["p"])["p"]
    np.testing.assert_array_equal(found, ReferenceRuntime(graph).run(inputs, ["p"])["p"])


@pytest.mark.parametrize("state", [State.OVERLAPPED, State.FP32, State.INITIAL])
def test_slots_not_in_force_are_left_alone(graph: Graph, inputs: Any, state: State) -> None:
    quantable = _quantable(graph)
    op = quantable.quantable_operations[0]
    for side, index, config in op.config.slots():
        op = op.with_slot(side, index, replace(config, state=state))
    found = ReferenceRuntime(quantable.with_operation(op)).run(inputs, ["p"])["p"]
    np.testing.assert_array_equal(found, ReferenceRuntime(graph).run(inputs, ["p"])["p"])


@pytest.mark.parametrize("shape", [(4, 2), (3, 4, 2), (2,)])
def test_linear_is_a_product_and_a_bias(rng: Any, shape: tuple[int, ...]) -> None:
    x, b = rng.normal(size=shape).astype(np.float32), np.array([0.5, -3.0], np.float32)
    linear = Operation("l", "quantable.Linear", ("x", "w", "b"), ("y",))
    (y,) = FloatExecutor().run_operation(linear, [x, W, b])
    np.testing.assert_allclose(y, x @ W + b, rtol=1e-5, atol=1e-6)
    (y,) = FloatExecutor().run_operation(linear, [x, W, None])
    np.testing.assert_allclose(y, x @ W, rtol=1e-5, atol=1e-6)
