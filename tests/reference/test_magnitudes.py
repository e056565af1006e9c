"""Bounds of magnitudes: no value exceeds its own, and what has none ends the proof."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quantable.ir import DType, Graph, Level, Operation, Value
from quantable.reference import ReferenceRuntime
from quantable.reference.magnitudes import INPUT, RULES, are_bounded, magnitudes
from quantable.reference.operations.table import FLOAT_OPERATIONS

GraphOf = Callable[..., Graph]
F32 = DType.FLOAT32
IMAGE = (2, 4, 6, 6)
POOL = {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}
HALF, SHAPE = np.array(0.5, np.float32), np.array([2, -1], np.int64)
WEIGHT = np.linspace(-3, 2, 3 * 4 * 9, dtype=np.float32).reshape(3, 4, 3, 3)

CASES: dict[str, list[tuple[dict[str, Any], Mapping[str, np.ndarray]]]] = {
    "Add": [({}, {}), ({}, {"w": HALF})],
    "AveragePool": [(POOL, {}), ({**POOL, "ceil_mode": 1}, {})],
    "Clip": [
        ({}, {"low": -HALF, "high": HALF}), ({}, {"low": HALF}),
        ({}, {"low": np.float32(3e5), "high": np.float32(2e5)}), ({"min": -9e9, "max": 0.0}, {}),
    ],
    "Concat": [({"axis": 1}, {"w": np.full((2, 1, 6, 6), 7e7, np.float32)})],
    "Conv": [
        ({"kernel_shape": (3, 3)}, {"w": WEIGHT}),
        ({"kernel_shape": (3, 3)}, {"w": WEIGHT, "b": np.full(3, 1e9, np.float32)}),
    ],
    "GlobalAveragePool": [({}, {})],
    "MaxPool": [(POOL, {}), ({**POOL, "ceil_mode": 1, "auto_pad": "SAME_LOWER"}, {})],
    "Mul": [({}, {}), ({}, {"w": HALF})],
    "Reshape": [({}, {"w": SHAPE})],
    "Squeeze": [({}, {"w": np.array([4], np.int64)})],
    "Sub": [({}, {})],
    "Unsqueeze": [({}, {"w": np.array([0], np.int64)})],
    **{kind: [({}, {})] for kind in ("Flatten", "Identity", "Relu", "Sigmoid", "Tanh")},
    "Transpose": [({"perm": (1, 0, 2, 3)}, {})],
}  # fmt: skip


def _graph(graph_of: GraphOf, kind: str, attributes: Any, held: Any) -> Graph:
    shape = (*IMAGE, 1) if kind == "Squeeze" else IMAGE
    second = ("x",) if kind in ("Add", "Sub", "Mul") and not held else ()
    operation = Operation("op", kind, ("x", *second, *held), ("y",), attributes)
    result: Graph = graph_of(Level.FLOAT, [operation], {"x": (F32, shape)}, held, {"y": F32})
    return result


def test_every_rule_is_tested_and_belongs_to_an_operation() -> None:
    assert set(CASES) == set(RULES)
    assert set(RULES) <= set(FLOAT_OPERATIONS)


@pytest.mark.parametrize("kind", sorted(CASES))
@given(seed=st.integers(0, 99), ends=st.booleans())
@settings(max_examples=5)
def test_no_value_exceeds_its_bound(graph_of: GraphOf, kind: str, seed: int, ends: bool) -> None:
    rng = np.random.default_rng(seed)
    for attributes, held in CASES[kind]:
        graph = _graph(graph_of, kind, attributes, held)
        bounds, shape = magnitudes(graph), graph.shape("x") or ()
        x = rng.uniform(-INPUT, INPUT, [int(dim) for dim in shape]).astype(np.float32)
        x = np.sign(x) * np.float32(INPUT) if ends else x
        assert are_bounded(graph, {"x": torch.from_numpy(x)})
        y = ReferenceRuntime(graph).run({"x": x})["y"]
        assert np.abs(y.astype(np.float64)).max() <= bounds["y"] < np.inf


def test_a_sum_that_reaches_its_bound(graph_of: GraphOf) -> None:
    """All products are of one sign, and every addition rounds."""
    held = {"w": np.full((1, 4, 6, 6), 1 / 3, np.float32)}
    graph = _graph(graph_of, "Conv", {"kernel_shape": (6, 6)}, held)
    x = np.full(IMAGE, INPUT, np.float32)
    y = float(ReferenceRuntime(graph).run({"x": x})["y"].max())
    assert y <= magnitudes(graph)["y"] <= y * (1 + 1e-4)


@pytest.mark.parametrize(
    ("kind", "attributes", "held"),
    [
        ("Exp", {}, {}),
        ("Conv", {"kernel_shape": (3, 3)}, {"w": WEIGHT * np.float32(1e27)}),
        ("Conv", {"kernel_shape": (3, 3)}, {"w": WEIGHT * np.float32(np.nan)}),
        ("Conv", {"kernel_shape": (3, 3)}, {"w": WEIGHT, "b": np.full(3, -np.inf, np.float32)}),
        ("Clip", {}, {"low": np.float32(np.inf)}),
        ("Clip", {}, {"low": np.float32(0), "high": np.float32(-np.inf)}),
        ("Clip", {}, {"low": np.float32(np.nan)}),
        ("MaxPool", {**POOL, "pads": (3, 0, 0, 0)}, {}),
        ("AveragePool", {**POOL, "dilations": (2, 2)}, {}),
        ("Concat", {"axis": 1}, {"w": np.full((2, 1, 6, 6), np.nan, np.float32)}),
        ("Mul", {}, {"w": np.float32(1e30)}),
    ],
)
def test_what_has_no_bound(graph_of: GraphOf, kind: str, attributes: Any, held: Any) -> None:
    assert set(magnitudes(_graph(graph_of, kind, attributes, held))) == {"x"}


def test_bounds_go_on_as_long_as_rules_do(graph_of: GraphOf) -> None:
    operations = [
        Operation("a", "Relu", ("x",), ("p",)), Operation("b", "Exp", ("p",), ("q",)),
        Operation("c", "Relu", ("q",), ("r",)), Operation("d", "Add", ("p", "w"), ("s",)),
        Operation("e", "Sub", ("s", "r"), ("y",)),
    ]  # fmt: skip
    made = dict.fromkeys(("p", "q", "r", "s", "y"), F32)
    inputs = {"x": (F32, (2,)), "n": (DType.INT64, (2,))}
    graph = graph_of(Level.FLOAT, operations, inputs, {"w": HALF}, made)
    assert set(magnitudes(graph)) == {"x", "p", "s"}
    assert magnitudes(replace(graph, level=Level.QUANTABLE)) == {}
    halved = replace(graph, values={**graph.values, "p": Value("p", DType.FLOAT16)})
    assert set(magnitudes(halved)) == {"x"}


@pytest.mark.parametrize("worst", [np.nan, np.inf, -np.inf, 2 * INPUT, -2 * INPUT])
def test_inputs_out_of_bounds_are_seen(graph_of: GraphOf, worst: float) -> None:
    graph = _graph(graph_of, "Relu", {}, {})
    x = torch.zeros(IMAGE)
    assert are_bounded(graph, {"x": x})
    assert are_bounded(graph, {"x": x[:0]})
    x[1, 2, 3, 4] = worst
    assert not are_bounded(graph, {"x": x})
