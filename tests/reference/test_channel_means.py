"""Means of channels: right, exact under sharding, and there for every weighted input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from quantable.ir import DType, Graph, Level, Operation, Profile, channel_inputs
from quantable.reference import ReferenceRuntime, observe

GraphOf = Callable[..., Graph]
F32 = DType.FLOAT32


@pytest.fixture
def graph(graph_of: GraphOf, rng: Any) -> Graph:
    """A convolution of the input, a matrix product along the last axis of what it makes."""
    operations = [
        Operation("conv", "Conv", ("x", "w"), ("c",), {"kernel_shape": (3, 3)}),
        Operation("relu", "Relu", ("c",), ("r",)),
        Operation("linear", "quantable.Linear", ("r", "m"), ("y",)),
    ]
    parameters = {
        "w": rng.normal(size=(8, 3, 3, 3)).astype(np.float32),
        "m": rng.normal(size=(7, 5)).astype(np.float32),
    }
    made = dict.fromkeys(("c", "r", "y"), F32)
    result: Graph = graph_of(Level.FLOAT, operations, {"x": (F32, (1, 3, 8, 9))}, parameters, made)
    return result


@pytest.fixture
def samples(rng: Any) -> list[dict[str, np.ndarray]]:
    scale = 10.0 ** rng.integers(-6, 6, 300)
    return [{"x": (s * rng.normal(size=(1, 3, 8, 9))).astype(np.float32)} for s in scale]


def test_every_weighted_input_has_the_means_of_its_channels(graph: Graph, samples: Any) -> None:
    profile = observe(graph, samples)
    assert list(profile.channel_means) == channel_inputs(graph) == [("r", -1), ("x", 1)]
    runtime = ReferenceRuntime(graph)
    for (name, axis), sums in profile.channel_means.items():
        values = [runtime.run(sample, [name])[name].astype(np.float64) for sample in samples]
        others = tuple(a for a in range(4) if a != axis % 4)
        expected = np.mean([value.mean(axis=others) for value in values], axis=0)
        largest = np.abs(values).max()
        assert sums.mean(profile.sample_count) == pytest.approx(expected, abs=1e-6 * largest)


@pytest.mark.parametrize("shards", [1, 3, 7])
def test_sharding_order_and_threads_change_nothing(
    graph: Graph, samples: Any, shards: int, rng: Any
) -> None:
    whole = observe(graph, samples, threads=1)
    parts = [observe(graph, samples[i::shards], threads=2) for i in range(shards)]
    merged: Profile = parts[0]
    for index in rng.permutation(np.arange(1, shards)):
        merged = merged.merged(parts[index])
    assert merged == whole


def test_means_that_are_too_large_are_not_known(graph: Graph, samples: Any) -> None:
    huge = [*samples[:2], {"x": np.full((1, 3, 8, 9), 1e13, np.float32)}]
    for order in (huge, huge[::-1]):
        assert observe(graph, order).channel_means["x", 1].sums == ()
    parts = [observe(graph, [sample]) for sample in huge]
    assert parts[2].merged(parts[0]).channel_means["x", 1].sums == ()


def test_a_shard_without_means_leaves_none(graph: Graph, samples: Any) -> None:
    mine = observe(graph, samples[:2])
    bare = Profile(mine.graph_digest, mine.sample_count, mine.statistics)
    assert not mine.merged(bare).channel_means
    assert not bare.merged(mine).channel_means
