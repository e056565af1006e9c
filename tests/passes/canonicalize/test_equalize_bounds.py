"""Equalization across bounds and sums, and its acceptance by a judge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantable.ir import Graph, OptionError
from quantable.passes.base import PassContext, run_pass
from quantable.passes.canonicalize.channel_groups import LayerSizes, channel_groups
from quantable.passes.canonicalize.equalize_layers import EqualizeLayers
from quantable.training import ReferenceLaboratory
from tests.passes.canonicalize.benches import bench, distance, per_tensor
from tests.passes.canonicalize.conftest import assert_equal_results, parse_graph

LIMITED = (
    "x: f32[N,2]; w: f32[2,3] = [[1, 0.5, 4], [2, 0.25, 0]]; v: f32[3,1] = [[2], [64], [1]]; "
    "lo: f32[] = 0; hi: f32[] = 6\n"
    "a = quantable.Linear(x, w)\nr = Clip(a, lo, hi)\ny = quantable.Linear(r, v)\nreturn y"
)
"""On samples up to 2 in size, channel 0 reaches 6, channel 1 reaches 1.5, and 2 reaches 8."""


def laboratory(*samples: list[float]) -> ReferenceLaboratory:
    return ReferenceLaboratory([{"x": np.array([s], np.float32)} for s in samples])


FITTED = ([2, 2], [-2, 2], [2, -2])
CORNERS = laboratory(*FITTED, [-2, -2])


def test_channels_below_a_bound_are_moved_and_those_that_reach_it_stay() -> None:
    graph = parse_graph(LIMITED)
    context = PassContext(laboratory=CORNERS)
    done = run_pass(graph, EqualizeLayers(), context)
    assert distance(CORNERS, graph, done) < 1e-6
    assert [op.kind for op in done.operations] == [op.kind for op in graph.operations]
    # Channel 1 may grow to four times its range before it reaches the bound.
    assert done.array("w").tolist() == [[1, 2, 4], [2, 1, 0]]
    assert done.array("v").tolist() == [[2], [16], [1]]


def test_relaxing_removes_the_bound() -> None:
    graph = parse_graph(LIMITED)
    done = run_pass(graph, EqualizeLayers(bounds="relax"), PassContext())
    assert [op.kind for op in done.operations] == ["quantable.Linear", "Relu", "quantable.Linear"]


def test_layers_around_a_bound_are_left_alone_when_asked() -> None:
    graph = parse_graph(LIMITED)
    assert EqualizeLayers(bounds="stay").run(graph, PassContext(laboratory=CORNERS)) is graph


SUM = (
    "x: f32[N,2]; w: f32[2,2] = [[8, 1], [4, 1]]; u: f32[2,2] = [[1, 2], [8, 2]]; "
    "v: f32[2,1] = [[2], [8]]; z: f32[2,1] = [[1], [4]]\n"
    "a = quantable.Linear(x, w)\nb = quantable.Linear(x, u)\nr = Relu(b)\ns = {}(a, r)\n"
    "y = quantable.Linear(s, v)\ny2 = quantable.Linear(s, z)\nreturn y, y2"
)


@pytest.mark.parametrize("kind", ["Add", "Sub"])
def test_level_2_balances_all_layers_around_a_sum(kind: str) -> None:
    graph = parse_graph(SUM.format(kind))
    assert EqualizeLayers().run(graph, PassContext()) is graph
    done = run_pass(graph, EqualizeLayers(level=2), PassContext())
    assert_equal_results(graph, done)
    (group,) = channel_groups(done, across_sums=True)
    made = np.max([LayerSizes.of(done, op).made() for op in group.firsts], axis=0)
    read = np.max([LayerSizes.of(done, op).read() for op in group.seconds], axis=0)
    assert made == pytest.approx(read, rel=1e-3)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(-3, 3, width=32), min_size=6, max_size=6),
    st.booleans(), st.booleans(), st.sampled_from([-1.0, 0.0, 0.5]),
)  # fmt: skip
def test_the_function_stays_on_the_samples(
    numbers: list[float], bias: bool, activations: bool, depthwise: float
) -> None:
    text = LIMITED.replace("[[1, 0.5, 4], [2, 0.25, 0]]", f"[{numbers[:3]}, {numbers[3:]}]")
    graph = parse_graph(text)
    item = EqualizeLayers(bias=bias, activations=activations, depthwise=depthwise)
    done = run_pass(graph, item, PassContext(laboratory=CORNERS))
    # A sample that is held out may pass a bound that those to fit on did not.
    assert distance(laboratory(*FITTED), graph, done) < 1e-5


def test_activations_count_when_asked() -> None:
    graph = parse_graph(LIMITED)
    context = PassContext(laboratory=CORNERS)
    plain = EqualizeLayers(bounds="relax").run(graph, context)
    done = EqualizeLayers(activations=True, bounds="relax").run(graph, context)
    assert done.array("w")[0, 1] < plain.array("w")[0, 1]


def test_a_judge_that_finds_no_gain_keeps_the_network() -> None:
    graph = parse_graph(LIMITED)
    context = PassContext(laboratory=CORNERS, judge=lambda found: 0.5 + (found is not graph))
    assert EqualizeLayers(each=True).run(graph, context) is graph
    assert [d.is_accepted for d in context.decisions] == [False] * 3
    assert context.decisions[0].before == 0.5
    assert context.decisions[0].reason == "the error does not fall"


def test_a_judge_takes_back_what_does_not_pay() -> None:
    graph = parse_graph(
        "x: f32[N,1]; w: f32[1,1] = [[16]]; v: f32[1,1] = [[1]]; u: f32[1,1] = [[1]]; "
        "t: f32[1,1] = [[64]]\n"
        "a = quantable.Linear(x, w)\nb = quantable.Linear(a, v)\nc = Exp(b)\n"
        "d = quantable.Linear(c, u)\ny = quantable.Linear(d, t)\nreturn y"
    )

    def judge(found: Graph) -> float:
        return float(found.array("w").item() + abs(found.array("t").item() - 64))

    context = PassContext(laboratory=CORNERS, judge=judge)
    done = EqualizeLayers(each=True, search=False).run(graph, context)
    assert [done.array(name).item() for name in "wvut"] == [16, 1, 1, 64]
    context = PassContext(laboratory=CORNERS, judge=lambda found: judge(found) / 100 - judge(done))
    assert EqualizeLayers(each=True, search=False).run(graph, context) is graph


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (EqualizeLayers(level=3), "level: expected 1 or 2, found 3"),
        (EqualizeLayers(scale_limit=1.0), "scale-limit: expected more than 1, found 1"),
        (EqualizeLayers(bias_multiplier=-1.0), "bias-multiplier: expected at least 0, found -1"),
        (EqualizeLayers(depthwise=2.0), "depthwise: expected -1 to 1, found 2"),
    ],
)
def test_options_out_of_range_are_mistakes(item: EqualizeLayers, text: str) -> None:
    with pytest.raises(OptionError, match=text):
        item.check()


def test_a_network_with_bounds_gets_better(tmp_path: Path) -> None:
    """What it promises, on MobileNet: the error falls, on other samples too, and bounds stay."""
    on = bench("mobilenetv1_0.25_128", per_tensor(tmp_path))
    context = on.context()
    done = run_pass(on.graph, EqualizeLayers(search=False), context)
    assert [d.is_accepted for d in context.decisions] == [True]
    assert distance(on.laboratory, on.graph, done) < 0.05
    assert on.others(done) < 0.5 * on.others(on.graph)
    assert [op.kind for op in done.operations] == [op.kind for op in on.graph.operations]
