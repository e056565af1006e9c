"""Trials: what is kept, what is refused and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from quantable.ir import Graph
from quantable.passes.base import PassContext
from quantable.passes.canonicalize.trials import DiscerningJudge, Trials
from quantable.passes.rewrite_limit import Rewrites
from tests.passes.canonicalize.conftest import parse_graph

GRAPH = parse_graph("x: f32[N]\ny = Relu(x)\nreturn y")
OTHER = replace(GRAPH, name="other")


@dataclass
class Sampled:
    """A judge with given errors of samples."""

    before: Sequence[float]
    after: Sequence[float]

    def parts(self, graph: Graph) -> Sequence[float]:
        return self.before if graph is GRAPH else self.after

    def __call__(self, graph: Graph) -> float:
        return sum(self.parts(graph)) / len(self.parts(graph))


@pytest.mark.parametrize(
    ("after", "is_kept"),
    [([0.5, 0.6, 0.4, 0.5], True), ([0.1, 1.1, 0.9, 1.2], False), ([1.0, 1.0, 1.0, 1.0], False)],
    ids=["all gain", "one gains", "nothing changes"],
)
def test_the_samples_have_to_agree(after: list[float], is_kept: bool) -> None:
    judge = Sampled([1.0] * 4, after)
    assert isinstance(judge, DiscerningJudge)
    context = PassContext(judge=judge)
    assert Trials(GRAPH, context, "test").offer(OTHER, ("y",), "it") == is_kept
    assert context.decisions[0].is_accepted == is_kept


def test_a_reason_says_how_much_the_samples_differ() -> None:
    context = PassContext(judge=Sampled([1.0, 1.0], [0.2, 1.0]))
    Trials(GRAPH, context, "test").offer(OTHER, ("y",), "it")
    assert context.decisions[0].reason == "the samples do not agree: -80.5%, give or take 80.5%"


@pytest.mark.parametrize(("found", "is_kept"), [(math.inf, False), (math.nan, False), (0.5, True)])
def test_what_is_not_finite_is_refused(found: float, is_kept: bool) -> None:
    context = PassContext(judge=lambda graph: 1.0 if graph is GRAPH else found)
    assert Trials(GRAPH, context, "test").offer(OTHER, ("y",), "it") == is_kept
    context = PassContext(judge=lambda graph: math.inf if graph is GRAPH else found)
    assert Trials(GRAPH, context, "test").offer(OTHER, ("y",), "it") == is_kept


def test_rewrites_can_be_limited() -> None:
    context = PassContext(judge=lambda graph: 1.0 if graph is GRAPH else 0.5, rewrites=Rewrites(0))
    trials = Trials(GRAPH, context, "test")
    assert not trials.offer(OTHER, ("y",), "it")
    assert trials.graph is GRAPH
    assert not context.decisions
