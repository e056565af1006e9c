"""Splitting layers: the same function, half the range, and when it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantable.ir import DataError, OptionError, UnknownNameError, verify
from quantable.passes.base import PassContext, run_pass
from quantable.passes.canonicalize.split_layers import SplitLayers
from tests.passes.canonicalize.benches import (
    bench,
    distance,
    eager,
    per_tensor,
    randomized,
    stubborn,
)
from tests.passes.canonicalize.conftest import assert_equal_results, parse_graph

TWO = (
    "x: f32[N,4,5,5]; w: f32[6,2,3,3] = random; b: f32[6] = random; v: f32[3,6,1,1] = random\n"
    "a = Conv(x, w, b) {group=2 kernel_shape=[3,3] pads=[1,1,1,1]}\nr = Relu(a)\n"
    "y = Conv(r, v) {kernel_shape=[1,1]}\nreturn y, a"
)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["outliers", "random"]), st.integers(0, 1 << 16))
def test_the_function_stays(method: Literal["outliers", "random"], seed: int) -> None:
    graph = randomized(parse_graph(TWO), seed)
    item = SplitLayers(method=method, threshold=1.0, seed=seed)
    done = run_pass(graph, item, PassContext(judge=eager(graph)))
    verify(done)
    assert [op.kind for op in done.operations].count("Add") == 2
    assert_equal_results(graph, done)


def test_both_layers_have_half_the_range() -> None:
    graph = randomized(parse_graph(TWO), 1)
    done = SplitLayers(layers=("a",)).run(graph, PassContext(judge=eager(graph)))
    most = np.abs(graph.array("w")).max()
    for name in ("w", "a.weight"):
        assert np.abs(done.array(name)).max() == pytest.approx(most / 2)
    np.testing.assert_array_equal(done.array("w") + done.array("a.weight"), graph.array("w"))


def test_random_parts_are_those_of_the_seed() -> None:
    graph = randomized(parse_graph(TWO), 1)

    def parts(seed: int) -> bytes:
        item = SplitLayers(method="random", threshold=1.0, seed=seed)
        return item.run(graph, PassContext(judge=eager(graph))).array("w").tobytes()

    assert parts(1) == parts(1) != parts(2)


def test_only_so_many_are_split() -> None:
    graph = randomized(parse_graph(TWO), 1)
    done = SplitLayers(threshold=1.0, most=1).run(graph, PassContext(judge=eager(graph)))
    assert [op.kind for op in done.operations].count("Add") == 1


def test_a_judge_that_finds_no_gain_keeps_the_network() -> None:
    graph = randomized(parse_graph(TWO), 1)
    context = PassContext(judge=stubborn(graph))
    assert SplitLayers(threshold=1.0).run(graph, context) is graph
    assert [d.is_accepted for d in context.decisions] == [False, False]


def test_layers_without_weights_are_left_alone() -> None:
    graph = parse_graph(
        "x: f32[N,2]; w: f32[2,2] = [[0, 0], [0, 0]]\ny = quantable.Linear(x, w)\nreturn y"
    )
    assert SplitLayers().run(graph, PassContext(judge=eager(graph))) is graph


def test_mistakes() -> None:
    graph = parse_graph(TWO)
    with pytest.raises(DataError, match="pass 'split-layers'"):
        SplitLayers().run(graph, PassContext())
    with pytest.raises(UnknownNameError, match="nothing"):
        SplitLayers(layers=("nothing",)).run(graph, PassContext(judge=eager(graph)))
    with pytest.raises(OptionError, match="most: expected at least 1, found 0"):
        SplitLayers(most=0).check()


@pytest.mark.slow
def test_a_real_network_gets_better(tmp_path: Path) -> None:
    """What it promises: with 4-bit weights the layers of ResNet-8 that reach farthest cost less."""
    on = bench("resnet8", per_tensor(tmp_path, 4), samples=96)
    context = on.context()
    done = run_pass(on.graph, SplitLayers(), context)
    assert {d.is_accepted for d in context.decisions} == {True, False}
    assert distance(on.laboratory, on.graph, done) < 1e-5
    assert on.others(done) < 0.7 * on.others(on.graph)
