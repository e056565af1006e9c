"""Smoothing: the same function, balanced activations, and when it is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantable.ir import DataError, OptionError
from quantable.passes.base import PassContext, run_pass
from quantable.passes.canonicalize.channel_ranges import channel_ranges
from quantable.passes.canonicalize.equalize_activations import EqualizeActivations
from quantable.targets.description import load_target
from tests.passes.canonicalize.benches import (
    bench,
    distance,
    eager,
    randomized,
    stubborn,
    with_outliers,
)
from tests.passes.canonicalize.conftest import (
    assert_equal_results,
    parse_graph,
    random_laboratory,
)

NORM = (
    "x: f32[N,3,4]; g: f32[4] = random; h: f32[4] = random; w: f32[4,3] = random; "
    "u: f32[4,2] = random\n"
    "a = LayerNormalization(x, g, h) {axis=-1}\ny = quantable.Linear(a, w)\n"
    "z = quantable.Linear(a, u)\nreturn y, z"
)
CONV = (
    "x: f32[N,2,5,5]; w: f32[6,2,3,3] = random; b: f32[6] = random; v: f32[3,6,1,1] = random\n"
    "a = Conv(x, w, b) {kernel_shape=[3,3]}\nr = Relu(a)\n"
    "y = Conv(r, v) {kernel_shape=[1,1]}\nreturn y"
)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([NORM, CONV]), st.integers(0, 1 << 16), st.floats(0, 1))
def test_the_function_stays(text: str, seed: int, strength: float) -> None:
    graph = randomized(parse_graph(text), seed)
    context = PassContext(laboratory=random_laboratory(graph), judge=eager(graph))
    done = run_pass(graph, EqualizeActivations(strengths=(strength,)), context)
    assert_equal_results(graph, done, tolerance=5e-6)


@pytest.mark.parametrize(("text", "value"), [(NORM, "a"), (CONV, "r")])
def test_full_strength_gives_all_channels_one_range(text: str, value: str) -> None:
    graph = randomized(parse_graph(text), 1)
    context = PassContext(laboratory=random_laboratory(graph), judge=eager(graph))
    done = EqualizeActivations(strengths=(1.0,)).run(graph, context)
    axes = {value: 1 if text is CONV else -1}
    for found, is_even in ((graph, False), (done, True)):
        largest = channel_ranges(found, axes, context, "test")[value].largest
        assert (largest.max() < 1.01 * largest[largest > 0].min()) == is_even


def test_only_the_groups_of_named_layers_are_tried() -> None:
    graph = randomized(parse_graph(NORM), 1)
    context = PassContext(laboratory=random_laboratory(graph), judge=eager(graph))
    assert EqualizeActivations(layers=("nobody",)).run(graph, context) is graph
    assert EqualizeActivations(layers=("y",)).run(graph, context) is not graph


def test_channels_that_are_zero_keep_their_range() -> None:
    graph = parse_graph(
        "x: f32[N,2]; g: f32[2] = [8, 0]; h: f32[2] = [0, 0]; w: f32[2,1] = [[1], [1]]\n"
        "a = LayerNormalization(x, g, h) {axis=-1}\ny = quantable.Linear(a, w)\nreturn y"
    )
    context = PassContext(laboratory=random_laboratory(graph), judge=eager(graph))
    assert EqualizeActivations().run(graph, context) is graph


def test_a_judge_that_finds_no_gain_keeps_the_network() -> None:
    graph = randomized(parse_graph(NORM), 1)
    context = PassContext(laboratory=random_laboratory(graph), judge=stubborn(graph))
    assert EqualizeActivations().run(graph, context) is graph
    assert [d.tried for d in context.decisions] == [
        "strength 0.15", "strength 0.25", "strength 0.5", "strength 0.75", "strength 0.95"
    ]  # fmt: skip
    assert not any(d.is_accepted for d in context.decisions)
    assert all(np.isfinite(d.after) for d in context.decisions)


def test_mistakes() -> None:
    with pytest.raises(DataError, match="pass 'equalize-activations'"):
        EqualizeActivations().run(parse_graph(NORM), PassContext())
    with pytest.raises(OptionError, match="strengths: expected 0 to 1, found 2"):
        EqualizeActivations(strengths=(2.0,)).check()
    with pytest.raises(OptionError, match="scale-limit: expected more than 1, found 1"):
        EqualizeActivations(scale_limit=1.0).check()


def test_a_real_transformer_gets_better() -> None:
    """What it promises: channels far larger than others, as large transformers have, cost less."""
    on = bench("cct_cifar", load_target("x86-vnni"), samples=12)
    norm = next(op for op in on.graph.operations if op.kind == "LayerNormalization")
    graph = with_outliers(on.graph, norm.name, 64.0)
    context = on.context()
    (reader,) = {op.name for op, _ in graph.uses(norm.outputs[0])}
    item = EqualizeActivations(strengths=(0.75,), layers=(reader,))
    done = run_pass(graph, item, context)
    assert any(d.is_accepted for d in context.decisions)
    assert distance(on.laboratory, graph, done) < 1e-4
    assert on.others(done) < 0.5 * on.others(graph)
