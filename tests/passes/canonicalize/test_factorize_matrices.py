"""Factorization: the same function, and when it is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantable.ir import DataError, OptionError, UnknownNameError, verify
from quantable.passes.base import PassContext, run_pass
from quantable.passes.canonicalize.factorize_matrices import FactorizeMatrices, Method
from tests.passes.canonicalize.benches import (
    bench,
    distance,
    eager,
    per_tensor,
    randomized,
    stubborn,
    with_outliers,
)
from tests.passes.canonicalize.conftest import assert_equal_results, parse_graph

LINEAR = (
    "x: f32[N,{0}]; w: f32[{0},{1}] = random; b: f32[{1}] = random\n"
    "y = quantable.Linear(x, w, b)\nreturn y"
)
CONV = (
    "x: f32[N,{0},3,3]; w: f32[{1},{0},1,1] = random; b: f32[{1}] = random\n"
    "y = Conv(x, w, b) {{kernel_shape=[1,1]}}\nreturn y"
)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([LINEAR, CONV]), st.integers(1, 9), st.integers(1, 9),
    st.sampled_from(["hadamard", "svd"]), st.integers(0, 1 << 16),
)  # fmt: skip
def test_the_function_stays(
    text: str, inputs: int, outputs: int, method: Method, seed: int
) -> None:
    graph = randomized(parse_graph(text.format(inputs, outputs)), seed)
    item = FactorizeMatrices(methods=(method,))
    done = run_pass(graph, item, PassContext(judge=eager(graph)))
    verify(done)
    is_power = outputs > 1 and not outputs & (outputs - 1)
    assert len(done.operations) == 1 + (method == "svd" or is_power)
    assert_equal_results(graph, done, tolerance=1e-5)


def test_little_energy_is_left_out() -> None:
    graph = parse_graph(
        "x: f32[N,2]; w: f32[2,2] = [[10, 0], [0, 1]]\ny = quantable.Linear(x, w)\nreturn y"
    )
    item = FactorizeMatrices(methods=("svd",), energy=0.9)
    done = item.run(graph, PassContext(judge=eager(graph)))
    product = done.array("w") @ done.array("y.weight")
    assert done.array("w").shape == (2, 1)
    assert product == pytest.approx(np.array([[10, 0], [0, 0]]), abs=1e-5)


@pytest.mark.parametrize(
    "attributes", ["kernel_shape=[1,1] strides=[2,2]", "kernel_shape=[1,1] pads=[1,1,1,1]"]
)
def test_convolutions_that_are_no_matrix_are_left_alone(attributes: str) -> None:
    text = CONV.format(4, 4).replace("kernel_shape=[1,1]", attributes)
    graph = parse_graph(text)
    assert FactorizeMatrices().run(graph, PassContext(judge=eager(graph))) is graph


def test_a_judge_that_finds_no_gain_keeps_the_network() -> None:
    graph = parse_graph(LINEAR.format(4, 4))
    context = PassContext(judge=stubborn(graph))
    assert FactorizeMatrices().run(graph, context) is graph
    assert [d.tried for d in context.decisions] == ["factorize by hadamard", "factorize by svd"]


def test_mistakes() -> None:
    graph = parse_graph(LINEAR.format(4, 4))
    with pytest.raises(DataError, match="pass 'factorize-matrices'"):
        FactorizeMatrices().run(graph, PassContext())
    with pytest.raises(UnknownNameError, match="nothing"):
        FactorizeMatrices(layers=("nothing",)).run(graph, PassContext(judge=eager(graph)))
    with pytest.raises(OptionError, match="energy: expected more than 0, at most 1, found 0"):
        FactorizeMatrices(energy=0.0).check()


def test_outlier_columns_of_a_real_network_cost_less(tmp_path: Path) -> None:
    """What it promises, on the autoencoder with two columns that are far larger than others."""
    on = bench("fc_autoencoder", per_tensor(tmp_path), samples=64)
    name = [op.name for op in on.graph.operations if op.kind == "quantable.Linear"][2]
    graph = with_outliers(on.graph, name, 8.0)
    context = on.context()
    done = run_pass(graph, FactorizeMatrices(layers=(name,)), context)
    assert [d.is_accepted for d in context.decisions] == [True, False]
    assert distance(on.laboratory, graph, done) < 1e-5
    assert on.others(done) < 0.5 * on.others(graph)


def test_a_real_network_without_outliers_is_left_alone(tmp_path: Path) -> None:
    on = bench("cct_cifar", per_tensor(tmp_path, 4), samples=24)
    names = [op.name for op in on.graph.operations if op.name.endswith("fc1/MatMul")][:1]
    item = FactorizeMatrices(layers=tuple(names))
    context = on.context()
    assert item.run(on.graph, context) is on.graph
    assert [d.is_accepted for d in context.decisions] == [False, False]
