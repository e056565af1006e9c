"""Splitting channels: the same function, smaller weights, and when it is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantable.ir import DataError, OptionError, verify
from quantable.passes.base import PassContext, run_pass
from quantable.passes.canonicalize.split_channels import Side, SplitChannels
from tests.passes.canonicalize.benches import (
    bench,
    distance,
    eager,
    per_tensor,
    randomized,
    stubborn,
)
from tests.passes.canonicalize.conftest import assert_equal_results, parse_graph

CONVOLUTIONS = (
    "x: f32[N,2,5,5]; w: f32[6,2,3,3] = random; b: f32[6] = random; v: f32[3,6,3,3] = random; "
    "u: f32[2,6,1,1] = random; lo: f32[] = 0; hi: f32[] = 6\n"
    "a = Conv(x, w, b) {{kernel_shape=[3,3] pads=[1,1,1,1]}}\nr = {}\n"
    "y = Conv(r, v) {{kernel_shape=[3,3]}}\nz = Conv(r, u) {{kernel_shape=[1,1]}}\nreturn y, z"
)
BETWEEN = {
    "Relu": "Relu(a)", "Clip": "Clip(a, lo, hi)", "LeakyRelu": "LeakyRelu(a)",
    "MaxPool": "MaxPool(a) {kernel_shape=[2,2]}",
}  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(sorted(BETWEEN)), st.integers(0, 1 << 16),
    st.sampled_from(["read", "made", "both"]), st.integers(1, 9),
)  # fmt: skip
def test_the_function_stays(between: str, seed: int, side: Side, iterations: int) -> None:
    graph = randomized(parse_graph(CONVOLUTIONS.format(BETWEEN[between])), seed)
    item = SplitChannels(iterations=iterations, ratio=1.0, threshold=1.0, sides=(side,))
    done = run_pass(graph, item, PassContext(judge=eager(graph)))
    verify(done)
    assert_equal_results(graph, done)


@pytest.mark.parametrize("side", ["read", "made"])
def test_every_split_takes_the_largest_channel_down(side: Side) -> None:
    graph = randomized(parse_graph(CONVOLUTIONS.format("Relu(a)")), 3)
    item = SplitChannels(ratio=0.5, threshold=1.0, sides=(side,))
    done = item.run(graph, PassContext(judge=eager(graph)))
    assert done.array("w").shape == (9, 2, 3, 3)
    assert done.array("u").shape == (2, 9, 1, 1)
    names = {"read": "uv", "made": "w"}[side]
    before = max(np.abs(graph.array(name)).max() for name in names)
    assert max(np.abs(done.array(name)).max() for name in names) < 0.75 * before


def test_layers_with_groups_are_left_alone() -> None:
    graph = parse_graph(
        "x: f32[N,4,3,3]; w: f32[4,1,1,1] = [[[[1]]], [[[1]]], [[[1]]], [[[90]]]]; "
        "v: f32[4,4,1,1] = random\n"
        "a = Conv(x, w) {group=4 kernel_shape=[1,1]}\ny = Conv(a, v) {kernel_shape=[1,1]}\nreturn y"
    )
    assert SplitChannels().run(graph, PassContext(judge=eager(graph))) is graph


def test_a_judge_that_finds_no_gain_keeps_the_network() -> None:
    graph = randomized(parse_graph(CONVOLUTIONS.format("Relu(a)")), 3)
    context = PassContext(judge=stubborn(graph))
    assert SplitChannels(threshold=1.0).run(graph, context) is graph
    assert [d.is_accepted for d in context.decisions] == [False] * 3
    assert context.decisions[0].reason == "the error does not fall by 5%"


def test_it_needs_a_judge() -> None:
    graph = parse_graph(CONVOLUTIONS.format("Relu(a)"))
    with pytest.raises(DataError, match=r"pass 'split-channels' .* needs calibration samples"):
        SplitChannels().run(graph, PassContext())


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (SplitChannels(iterations=0), "iterations: expected at least 1, found 0"),
        (SplitChannels(ratio=0.0), "ratio: expected more than 0, at most 1, found 0"),
        (SplitChannels(threshold=0.5), "threshold: expected at least 1, found 0.5"),
        (SplitChannels(gain=1.0), "gain: expected at least 0, less than 1, found 1"),
    ],
)
def test_options_out_of_range_are_mistakes(item: SplitChannels, text: str) -> None:
    with pytest.raises(OptionError, match=text):
        item.check()


@pytest.mark.slow
def test_a_real_network_gets_better(tmp_path: Path) -> None:
    """What it promises: with 4-bit weights outlier channels of the autoencoder cost less."""
    on = bench("fc_autoencoder", per_tensor(tmp_path, 4), samples=128)
    context = on.context()
    done = run_pass(on.graph, SplitChannels(), context)
    assert {d.is_accepted for d in context.decisions} == {True, False}
    assert distance(on.laboratory, on.graph, done) < 1e-5
    assert on.others(done) < 0.9 * on.others(on.graph)
