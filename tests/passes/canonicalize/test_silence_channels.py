"""Silent channels: which they are, that they spread, and what clearing them saves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantable.ir import OptionError
from quantable.passes.base import PassContext, run_pass
from quantable.passes.canonicalize.silence_channels import SilenceChannels
from tests.passes.canonicalize.benches import bench, distance, per_tensor
from tests.passes.canonicalize.conftest import assert_equal_results, parse_graph

NUMBERS = st.sampled_from([0.0, 0.0, 1.0, -2.0])


def layers(weights: list[list[float]], biases: list[float], readers: list[float], kind: str) -> str:
    clip = "Clip(a, lo, hi)" if kind == "Clip" else f"{kind}(a)"
    return (
        f"x: f32[N,2]; w: f32[2,3] = {weights}; b: f32[3] = {biases}; "
        f"v: f32[3,1] = {[[r] for r in readers]}; lo: f32[] = 0; hi: f32[] = 6\n"
        f"a = quantable.Linear(x, w, b)\nr = {clip}\ny = quantable.Linear(r, v)\nreturn y"
    )


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=2, max_size=2),
    st.lists(NUMBERS, min_size=3, max_size=3), st.lists(NUMBERS, min_size=3, max_size=3),
    st.sampled_from(["Relu", "Clip", "LeakyRelu"]),
)  # fmt: skip
def test_the_function_stays(
    weights: list[list[float]], biases: list[float], readers: list[float], kind: str
) -> None:
    graph = parse_graph(layers(weights, biases, readers, kind))
    done = run_pass(graph, SilenceChannels(), PassContext())
    assert_equal_results(graph, done)
    assert SilenceChannels().run(done, PassContext()) is done


def test_a_channel_that_nobody_reads_is_not_made_and_its_inputs_are_not_read() -> None:
    graph = parse_graph(
        "x: f32[N,1]; u: f32[1,2] = [[3, 4]]; w: f32[2,2] = [[1, 0], [0, 9]]; "
        "v: f32[2,1] = [[1], [0]]\n"
        "a = quantable.Linear(x, u)\nb = quantable.Linear(a, w)\ny = quantable.Linear(b, v)\n"
        "return y"
    )
    context = PassContext()
    done = run_pass(graph, SilenceChannels(), context)
    assert done.array("w").tolist() == [[1, 0], [0, 0]]
    assert done.array("u").tolist() == [[3, 0]]
    assert [text for _, _, text in context.remarks] == ["1 of 2 channels do nothing: cleared"] * 2


def test_what_float32_would_not_keep_counts_as_zero() -> None:
    graph = parse_graph(layers([[1, 2, 1e-9], [3, 4, 0]], [0, 0, -1], [1, 1, 9], "Relu"))
    done = run_pass(graph, SilenceChannels(), PassContext())
    assert done.array("w")[:, 2].tolist() == [0, 0]
    assert done.array("v").tolist() == [[1], [1], [0]]


@pytest.mark.parametrize(
    ("biases", "readers", "kind"),
    [([1.0, 1.0, 0.5], [1.0, 1.0, 1.0], "Relu"), ([1.0, 1.0, -0.5], [1.0, 1.0, 1.0], "LeakyRelu")],
    ids=["a constant channel", "a negative one that is not cut off"],
)
def test_a_channel_that_says_something_stays(
    biases: list[float], readers: list[float], kind: str
) -> None:
    graph = parse_graph(layers([[1, 2, 0], [3, 4, 0]], biases, readers, kind))
    assert SilenceChannels().run(graph, PassContext()) is graph


def test_tolerance_is_a_part() -> None:
    with pytest.raises(OptionError, match="tolerance: expected 0 to 1, found 2"):
        SilenceChannels(tolerance=2.0).check()


def test_first_layers_of_a_real_network_lose_most_of_their_error(tmp_path: Path) -> None:
    """What it promises: one scale for all weights costs less, and no output changes."""
    on = bench("mobilenetv1_0.25_128", per_tensor(tmp_path))
    done = run_pass(on.graph, SilenceChannels(), on.context())
    assert distance(on.laboratory, on.graph, done) < 1e-6
    assert on.others(done) < 0.4 * on.others(on.graph)


def test_a_network_without_silent_channels_is_left_alone(tmp_path: Path) -> None:
    on = bench("resnet8", per_tensor(tmp_path), samples=4)
    assert SilenceChannels().run(on.graph, on.context()) is on.graph
    assert np.isfinite(on.judge(on.graph))
