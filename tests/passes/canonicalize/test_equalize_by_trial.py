"""Equalization by trial: every way keeps the function, and each pair has to pay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantable.ir import DataError, Graph, OptionError
from quantable.passes.base import PassContext, run_pass
from quantable.passes.canonicalize.channel_groups import LayerSizes
from quantable.passes.canonicalize.equalize_by_trial import EqualizeByTrial, Way
from tests.passes.canonicalize.benches import (
    bench,
    distance,
    eager,
    per_tensor,
    randomized,
    stubborn,
)
from tests.passes.canonicalize.conftest import (
    assert_equal_results,
    parse_graph,
    random_laboratory,
)

CHAIN = (
    "x: f32[N,3,5,5]; w: f32[6,3,1,1] = random; b: f32[6] = random; k: f32[6,1,3,3] = random; "
    "v: f32[3,6,1,1] = random; lo: f32[] = 0; hi: f32[] = 6\n"
    "a = Conv(x, w, b) {kernel_shape=[1,1]}\nr = Relu(a)\n"
    "d = Conv(r, k) {group=6 kernel_shape=[3,3] pads=[1,1,1,1]}\nc = Clip(d, lo, hi)\n"
    "y = Conv(c, v) {kernel_shape=[1,1]}\nreturn y"
)
NORM = (
    "x: f32[N,4]; g: f32[4] = random; h: f32[4] = random; w: f32[4,3] = random\n"
    "a = LayerNormalization(x, g, h) {axis=-1}\ny = quantable.Linear(a, w)\nreturn y"
)
WAYS = ["dfq", "made", "read", "both"]


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(WAYS), st.integers(0, 1 << 16), st.sampled_from([0.3, 0.5, 1.0]))
def test_the_function_stays_on_the_samples(way: Way, seed: int, ratio: float) -> None:
    graph = randomized(parse_graph(CHAIN), seed)
    laboratory = random_laboratory(graph)
    context = PassContext(laboratory=laboratory, judge=eager(graph))
    done = run_pass(graph, EqualizeByTrial(ways=(way,), channel_ratio=ratio), context)
    # Samples that are held out may pass a bound that those to fit on did not.
    fitted = random_laboratory(graph, 3)
    assert distance(fitted, graph, done) < 1e-5


def sizes(graph: Graph) -> tuple[np.ndarray, np.ndarray]:
    first, second = (op for op in graph.operations if op.kind == "quantable.Linear")
    return LayerSizes.of(graph, first).made(), LayerSizes.of(graph, second).read()


PAIR = (
    "x: f32[N,2]; w: f32[2,3] = [[8, 1, 4], [4, 1, 1]]; v: f32[3,1] = [[2], [4], [1]]\n"
    "a = quantable.Linear(x, w)\nr = Relu(a)\ny = quantable.Linear(r, v)\nreturn y"
)


@pytest.mark.parametrize("way", ["made", "read", "both"])
def test_filling_up_never_widens_a_range(way: Way) -> None:
    graph = parse_graph(PAIR)
    item = EqualizeByTrial(ways=(way,), channel_ratio=1.0, iterations=1)
    done = item.run(graph, PassContext(judge=eager(graph)))
    assert_equal_results(graph, done)
    before, after = sizes(graph), sizes(done)
    for old, new in zip(before, after, strict=True):
        assert new.max() <= old.max() * (1 + 1e-6)
    filled = [new.min() > old.min() for old, new in zip(before, after, strict=True)]
    assert any(filled) or way == "both"


def test_norms_make_channels_when_asked() -> None:
    graph = randomized(parse_graph(NORM), 1)
    context = PassContext(judge=eager(graph))
    assert EqualizeByTrial().run(graph, context) is graph
    done = EqualizeByTrial(norms=True).run(graph, PassContext(judge=eager(graph)))
    assert not np.array_equal(done.array("g"), graph.array("g"))
    assert_equal_results(graph, done)


def test_a_gain_that_is_too_small_is_refused() -> None:
    graph = parse_graph(PAIR)
    context = PassContext(judge=lambda found: 1.0 if found is graph else 0.9)
    assert EqualizeByTrial().run(graph, context) is graph
    assert {d.reason for d in context.decisions} == {"the error does not fall by 20%"}
    context = PassContext(judge=lambda found: 1.0 if found is graph else 0.9)
    assert EqualizeByTrial(loss_threshold=1.0).run(graph, context) is not graph


def test_a_judge_that_finds_no_gain_keeps_the_network() -> None:
    graph = parse_graph(PAIR)
    context = PassContext(judge=stubborn(graph))
    assert EqualizeByTrial().run(graph, context) is graph
    assert context.decisions
    with pytest.raises(DataError, match="pass 'equalize-by-trial'"):
        EqualizeByTrial().run(graph, PassContext())


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (EqualizeByTrial(channel_ratio=0.0), "channel-ratio: expected more than 0"),
        (EqualizeByTrial(loss_threshold=2.0), "loss-threshold: expected more than 0"),
        (EqualizeByTrial(iterations=0), "iterations: expected at least 1, found 0"),
        (EqualizeByTrial(level=0), "level: expected 1 or 2, found 0"),
        (EqualizeByTrial(scale_limit=0.5), "scale-limit: expected more than 1, found 0.5"),
    ],
)
def test_options_out_of_range_are_mistakes(item: EqualizeByTrial, text: str) -> None:
    with pytest.raises(OptionError, match=text):
        item.check()


@pytest.mark.slow
def test_a_real_network_gets_better(tmp_path: Path) -> None:
    """What it promises: with one 4-bit scale a layer the keyword network loses less."""
    on = bench("dscnn_kws", per_tensor(tmp_path, 4), samples=100)
    context = on.context()
    done = run_pass(on.graph, EqualizeByTrial(iterations=1, ways=("dfq", "made")), context)
    assert {d.is_accepted for d in context.decisions} == {True, False}
    assert distance(on.laboratory, on.graph, done) < 1e-4
    assert on.others(done) < 0.8 * on.others(on.graph)
