"""Properties of the diff on random graphs: names and order are nothing, and sizes are symmetric."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantable.ir import (
    ContentStore,
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
    Value,
)
from quantable.ir.diff import diff_graphs
from tests.ir.diff.names import renamed, reordered
from tests.ir.diff.reported import MIRRORED

KINDS = ("Relu", "Add", "Mul", "Conv", "Split")
Recipe = list[tuple[int, int, int, int]]
RECIPES = st.lists(
    st.tuples(
        st.integers(0, len(KINDS) - 1), st.integers(0, 9), st.integers(0, 9), st.integers(0, 3)
    ),
    max_size=14,
)  # fmt: skip


def built(recipe: Recipe) -> Graph:
    """Return a quantable graph; few kinds, contents and rows, so that much of it is alike."""
    store = ContentStore()
    weights = {f"w{i}": store.put(np.full(2, i, np.float32)) for i in range(3)}
    parameters = {}
    made, operations, rows = ["x", "y"], [], {}
    for index, (kind, first, second, detail) in enumerate(recipe):
        name = KINDS[kind]
        operands = [made[-1 - first % len(made)]]
        if name == "Conv":
            parameters[f"p{index}"] = weights[f"w{detail % 3}"]
            operands.append(f"p{index}")
        elif name in ("Add", "Mul"):
            operands.append(made[-1 - second % len(made)])
        outputs = [f"v{index}.{i}" for i in range(2 if name == "Split" else 1)]
        plain = Operation(f"o{index}", name, tuple(operands), tuple(outputs), {"axis": detail // 2})
        row = QuantizationParameters(f"r{index}", (0.5 + detail // 3,), (0,))
        if detail % 2 == 0 or not rows:
            rows[row.id] = row
            own = TensorQuantizationConfig(state=State.ACTIVATED, relation=Relation.OWN, row=row.id)
        else:
            shared = list(rows)[first % len(rows)]
            own = TensorQuantizationConfig(
                state=State.PASSIVE, relation=Relation.SHARED, row=shared
            )
        empty = TensorQuantizationConfig(state=State.FP32)
        config = OperationQuantizationConfig(
            (empty,) * len(operands), (own, *(empty,) * (len(outputs) - 1))
        )
        operations.append(QuantableOperation.create(plain, config, "t", parameters))
        made += outputs
    names = [*made, *parameters]
    values = {name: Value(name, DType.FLOAT32, (2,)) for name in names}
    return Graph(
        "random", Level.QUANTABLE, 21, ("x", "y"), tuple(made[-2:]), values, tuple(operations),
        parameters, rows, "t", store=store,
    )  # fmt: skip


def check_same(recipe: Recipe, seed: int) -> None:
    graph = built(recipe)
    for other in (
        graph,
        renamed(graph, seed, fresh=True),
        renamed(graph, seed, fresh=False),
        reordered(graph, seed),
        reordered(renamed(graph, seed, fresh=False), seed),
    ):
        assert diff_graphs(graph, other).facts()["verdict"] == "same"


def check_symmetric(one: Recipe, other: Recipe) -> None:
    a, b = built(one), built(other)
    there, back = diff_graphs(a, b), diff_graphs(b, a)
    assert there.is_same == back.is_same
    for section in ("added", "removed"):
        assert there.sizes()[section] == back.sizes()[MIRRORED[section]]


@given(RECIPES, st.integers(0, 99))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_names_and_order_are_no_difference(recipe: Recipe, seed: int) -> None:
    check_same(recipe, seed)


@given(RECIPES, RECIPES)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_sizes_are_symmetric(one: Recipe, other: Recipe) -> None:
    check_symmetric(one, other)


@given(RECIPES, st.integers(0, 13), st.tuples(*(st.integers(0, i) for i in (4, 9, 9, 3))))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_diff_is_empty_only_for_equal_graphs(
    recipe: Recipe, position: int, entry: tuple[int, int, int, int]
) -> None:
    other = list(recipe)
    if not other:
        return
    other[position % len(other)] = entry
    a, b = built(recipe), built(other)
    if a == b:
        assert diff_graphs(a, b).is_same
    if sorted(op.kind for op in a.operations) != sorted(op.kind for op in b.operations):
        assert not diff_graphs(a, b).is_same


@pytest.mark.fuzz
@given(RECIPES, st.integers(0, 99), RECIPES)
@settings(max_examples=1000, deadline=None, derandomize=True)
def test_many_random_graphs(recipe: Recipe, seed: int, other: Recipe) -> None:
    check_same(recipe, seed)
    check_symmetric(recipe, other)
