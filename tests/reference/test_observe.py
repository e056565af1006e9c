"""Observation: exact counts, the same for any number of threads, order and sharding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from quantable.ir import DataError, DType, Graph, Level, Operation, Profile, graph_digest
from quantable.reference import ReferenceRuntime, observe

GraphOf = Callable[..., Graph]
F32 = DType.FLOAT32


@pytest.fixture
def graph(graph_of: GraphOf, rng: Any) -> Graph:
    """A network with every kind of value: counted, moved, clamped, parameter, integer."""
    window = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}
    operations = [
        Operation("conv", "Conv", ("x", "w"), ("c",), window),
        Operation("relu", "Relu", ("c",), ("r",)),
        Operation("clip", "Clip", ("c", "zero", "six"), ("k",)),
        Operation("odd", "Clip", ("c", "zero", "odd_limit"), ("o",)),
        Operation("transposed", "Transpose", ("r",), ("t",), {"perm": (0, 2, 3, 1)}),
        Operation("shape", "Shape", ("t",), ("n",)),
        Operation("sum", "Add", ("k", "o"), ("s",)),
        Operation("flat", "Flatten", ("s",), ("y",)),
    ]
    parameters = {
        "w": rng.normal(0, 2, (8, 3, 3, 3)).astype(np.float32), "zero": np.float32(0),
        "six": np.float32(6), "odd_limit": np.float32(0.7),
    }  # fmt: skip
    made = {**dict.fromkeys(("c", "r", "k", "o", "t", "s", "y"), F32), "n": DType.INT64}
    shapes = {"x": (F32, ("N", 3, 8, 9))}
    result: Graph = graph_of(Level.FLOAT, operations, shapes, parameters, made)
    return result


@pytest.fixture
def samples(rng: Any) -> list[dict[str, np.ndarray]]:
    return [{"x": rng.normal(size=(1, 3, 8, 9)).astype(np.float32)} for _ in range(12)]


def test_counts_and_extrema_are_exact(graph: Graph, samples: Any) -> None:
    profile = observe(graph, samples)
    assert profile.graph_digest == graph_digest(graph)
    assert profile.sample_count == 12
    assert sorted(profile.statistics) == ["c", "k", "o", "r", "s", "t", "x", "y"]
    runtime = ReferenceRuntime(graph)
    for name, found in profile.statistics.items():
        values = np.concatenate([runtime.run(s, [name])[name].ravel() for s in samples])
        # Both zeros are one number, and may be told apart by no statistic that follows.
        values = values + np.float32(0)
        bins, counts = np.unique(values.view(np.uint32) >> 16, return_counts=True)
        assert found.count == values.size
        assert (found.minimum, found.maximum) == (float(values.min()), float(values.max()))
        assert (found.bins.tolist(), found.counts.tolist()) == (bins.tolist(), counts.tolist())


def test_large_and_small_values_count_alike(graph_of: GraphOf, rng: Any) -> None:
    """Values are counted in parts and in two ways, depending on their size."""
    operation = Operation("e", "Exp", ("x",), ("y",))
    graph = graph_of(Level.FLOAT, [operation], {"x": (F32, (1, "L"))}, {}, {"y": F32})
    for size in (1, 65536, 65537, (1 << 20) + 7):
        x = rng.normal(size=(1, size)).astype(np.float32)
        found = observe(graph, [{"x": x}], elements=0).statistics["x"]
        bins, counts = np.unique(x.view(np.uint32) >> 16, return_counts=True)
        assert (found.bins.tolist(), found.counts.tolist()) == (bins.tolist(), counts.tolist())


def test_every_second_element_of_a_line_is_counted(graph_of: GraphOf, rng: Any) -> None:
    slots = ("x", "begin", "end", "axis", "step")
    operations = [Operation("slice", "Slice", slots, ("y",))]
    parameters = {
        name: np.array([value], np.int64)
        for name, value in zip(slots[1:], (0, 8, 1, 2), strict=True)
    }
    graph = graph_of(Level.FLOAT, operations, {"x": (F32, (1, 8))}, parameters, {"y": F32})
    line = rng.normal(size=(1, 8)).astype(np.float32)
    found = observe(graph, [{"x": line}]).statistics["y"]
    assert (found.count, found.minimum, found.maximum) == (4, *sorted(line[0, ::2])[::3])


def test_of_large_values_a_spread_part_is_counted(graph_of: GraphOf, rng: Any) -> None:
    operation = Operation("e", "Exp", ("x",), ("y",))
    graph = graph_of(Level.FLOAT, [operation], {"x": (F32, (1, "H", "W"))}, {}, {"y": F32})
    x = np.zeros((1, 96, 128), np.float32)
    x += np.arange(1, 129, dtype=np.float32) / 64  # each column its own value
    x[0, 0, 1], x[0, -1, -1] = -5.0, 50.0  # elements that are not counted
    found = observe(graph, [{"x": x}], elements=3000).statistics["x"]
    assert (found.minimum, found.maximum) == (-5.0, 50.0)
    assert found.count == -(-x.size // 5)  # 4 would be enough, but divides the width
    whole = observe(graph, [{"x": x}], elements=0).statistics["x"]
    assert whole.count == x.size
    seen = dict(zip(found.bins.tolist(), found.counts.tolist(), strict=True))
    for bin_index, count in zip(whole.bins.tolist(), whole.counts.tolist(), strict=True):
        if count >= 90:
            assert abs(seen[bin_index] - count / 5) <= count / 50 + 1


def test_threads_order_and_sharding_change_nothing(graph: Graph, samples: Any) -> None:
    before = torch.get_num_threads()
    expected = observe(graph, samples, threads=1)
    assert observe(graph, samples, threads=4) == expected
    assert observe(graph, samples[::-1], threads=2) == expected
    assert torch.get_num_threads() == before
    for count in (3, 7):
        shards = [observe(graph, samples[first::count]) for first in range(count)]
        merged = shards[-1]
        for shard in shards[:-1]:
            merged = merged.merged(shard)
        assert merged == expected


def test_batches_are_cut_into_samples(graph: Graph, samples: Any) -> None:
    batch = {"x": np.concatenate([sample["x"] for sample in samples])}
    assert observe(graph, [batch]) == observe(graph, samples)


def test_a_fixed_batch_is_not_cut(graph_of: GraphOf, rng: Any) -> None:
    operation = Operation("e", "Exp", ("x",), ("y",))
    graph = graph_of(Level.FLOAT, [operation], {"x": (F32, (4, 5))}, {}, {"y": F32})
    x = rng.normal(size=(4, 5)).astype(np.float32)
    profile: Profile = observe(graph, [{"x": x}])
    assert (profile.sample_count, profile.statistics["x"].count) == (1, 20)
    with pytest.raises(DataError, match=r"sample 1: input 'x': expected shape \[4, 5\]"):
        observe(graph, [{"x": x}, {"x": x[:1]}])


def test_progress_counts_samples(graph: Graph, samples: Any) -> None:
    told: list[int] = []
    observe(graph, samples, threads=3, progress=told.append)
    assert told == list(range(1, 13))


@pytest.mark.parametrize(("bad", "word"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_numbers_that_are_not_finite_name_the_first_sample(
    graph: Graph, samples: Any, bad: float, word: str
) -> None:
    for index in (5, 6, 9):
        samples[index]["x"][0, 1, 2, 3] = bad
    with pytest.raises(DataError, match=f"sample 5: value 'x': expected finite.*found {word}"):
        observe(graph, samples, threads=3)


def test_activations_that_overflow_are_named(graph: Graph, samples: Any) -> None:
    samples[3]["x"][:] = 3e38
    with pytest.raises(DataError, match="sample 3: value 'c'"):
        observe(graph, samples)


def test_no_samples_are_refused(graph: Graph) -> None:
    with pytest.raises(DataError, match="no samples"):
        observe(graph, [])


def test_what_the_samples_raise_comes_through(graph: Graph, samples: Any) -> None:
    def broken() -> Iterator[dict[str, np.ndarray]]:
        yield from samples[:2]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        observe(graph, broken(), threads=2)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_an_interrupt_is_not_kept_waiting_by_other_workers(
    graph: Graph, samples: Any, threads: int
) -> None:
    taken = 0

    def many() -> Iterator[Any]:
        nonlocal taken
        while taken < 1000:
            taken += 1
            yield samples[taken % len(samples)]

    def interrupt(done: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        observe(graph, many(), threads=threads, progress=interrupt)
    assert taken < 1000


def test_one_element_that_was_expanded_is_counted(graph_of: GraphOf) -> None:
    operation = Operation("e", "Expand", ("x", "shape"), ("y",))
    graph = graph_of(Level.FLOAT, [operation], {"x": (F32, ())}, {"shape": np.array([1])},
                     {"y": F32})  # fmt: skip
    profile = observe(graph, [{"x": np.float32(2.5).reshape(())}])
    assert profile.statistics["y"].maximum == 2.5
