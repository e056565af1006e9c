"""A batch in parts: cut by shapes, the same bits on any number of threads."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from quantable.ir import DataError, DType, Graph, Level, Operation, OptionError
from quantable.reference import ReferenceRuntime
from quantable.reference.batch import Cut

GraphOf = Callable[..., Graph]
F32 = DType.FLOAT32


def _network(graph_of: GraphOf, batch: int | str, last: str = "Softmax") -> Graph:
    """Return convolution, activation, a shape that holds the batch, product, `last`."""
    count = batch if isinstance(batch, int) else -1
    operations = [
        Operation("conv", "Conv", ("x", "w"), ("c",), {"kernel_shape": (3, 3)}),
        Operation("relu", "Relu", ("c",), ("r",)),
        Operation("flat", "Reshape", ("r", "shape"), ("f",)),
        Operation("linear", "quantable.Linear", ("f", "m", "b"), ("l",)),
        Operation("last", last, ("l",), ("y",), {"axis": -1} if last == "Softmax" else {}),
    ]
    rng = np.random.default_rng(0)
    parameters = {
        "w": rng.normal(size=(4, 3, 3, 3)), "m": rng.normal(size=(144, 5)), "b": rng.normal(size=5)
    }  # fmt: skip
    held = {n: a.astype(np.float32) for n, a in parameters.items()}
    made = dict.fromkeys(("c", "r", "f", "l", "y"), F32)
    shape = np.array([count, 144], np.int64)
    result: Graph = graph_of(
        Level.FLOAT, operations, {"x": (F32, (batch, 3, 8, 8))}, {**held, "shape": shape}, made
    )
    values = {**result.values}
    for name, dims in (("c", (4, 6, 6)), ("r", (4, 6, 6)), ("f", (144,)), ("l", (5,))):
        values[name] = type(values[name])(name, F32, (batch, *dims))
    return replace(result, values=values)


def _batch(count: int) -> dict[str, Any]:
    return {"x": np.random.default_rng(2).normal(size=(count, 3, 8, 8)).astype(np.float32)}


@pytest.mark.parametrize("batch", [8, "N"])
def test_threads_change_no_bit(graph_of: GraphOf, batch: int | str) -> None:
    graph, given, before = _network(graph_of, batch), _batch(8), torch.get_num_threads()
    names = ["x", "c", "r", "f", "l", "y"]
    expected = ReferenceRuntime(graph).run(given, names)
    for threads in (2, 3, 9):
        found = ReferenceRuntime(graph, threads=threads).run(given, names)
        for name in names:
            np.testing.assert_array_equal(found[name], expected[name])
    assert torch.get_num_threads() == before
    alone = ReferenceRuntime(_network(graph_of, "N"))
    singles = [alone.run({"x": row[None]})["y"] for row in given["x"]]
    np.testing.assert_allclose(expected["y"], np.concatenate(singles), 1e-5)


def test_parts_depend_on_shapes_only(graph_of: GraphOf) -> None:
    cut = Cut.of(_network(graph_of, "N"))
    assert cut is not None
    assert cut.largest == 3 * 8 * 8

    def sizes(count: int, *wanted: str) -> list[int]:
        given = {"x": torch.empty(count, 3, 8, 8)}
        return [len(range(count)[part]) for part in cut.parts(given, wanted or ("y",))]

    assert sizes(8) == [2, 2, 2, 2]
    assert sizes(10) == [3, 3, 3, 1]
    assert sizes(3) == [1, 1, 1]
    assert sizes(1) == [1]
    assert sizes(8, "y", "w") == [8], "a parameter has no samples"
    large = Cut(cut.graph, cut.carried, 1 << 21)
    assert [p.stop - p.start for p in large.parts({"x": torch.empty(100, 1)}, ("y",))] == [2] * 50


def test_a_batch_that_is_needed_whole_is_not_cut(graph_of: GraphOf) -> None:
    assert Cut.of(_network(graph_of, "N", last="Shape")) is None
    assert Cut.of(_network(graph_of, 1)) is None
    found = ReferenceRuntime(_network(graph_of, 8, last="Shape"), threads=2).run(_batch(8))
    assert found["y"].tolist() == [8, 5]


def test_hooks_see_whole_batches(graph_of: GraphOf) -> None:
    seen = []
    hook = (lambda op, side, index, name, tensor: seen.append(len(tensor)),)
    graph = _network(graph_of, 8)
    found = ReferenceRuntime(graph, hooks=hook, threads=2).run(_batch(8))
    assert set(seen) == {8, 4, 144, 5, 2}
    np.testing.assert_allclose(found["y"], ReferenceRuntime(graph).run(_batch(8))["y"], 1e-5)


def test_an_operation_that_fails_in_a_part_is_named(graph_of: GraphOf) -> None:
    operations = [Operation("flat", "Reshape", ("x", "shape"), ("y",))]
    held = {"shape": np.array([0, 5], np.int64)}
    graph = graph_of(Level.FLOAT, operations, {"x": (F32, ("N", 8))}, held, {"y": F32})
    for threads in (1, 3):
        with pytest.raises(DataError, match=r"operation 'flat' \(Reshape\)"):
            ReferenceRuntime(graph, threads=threads).run({"x": np.zeros((8, 8), np.float32)})


def test_no_thread_is_an_error(graph_of: GraphOf) -> None:
    with pytest.raises(OptionError, match="expected at least 1, found 0"):
        ReferenceRuntime(_network(graph_of, "N"), threads=0)


@pytest.mark.parametrize("threads", [1, 3])
def test_samples_come_back_in_order(graph_of: GraphOf, threads: int) -> None:
    graph, given, before = _network(graph_of, "N"), _batch(9)["x"], torch.get_num_threads()
    runtime, taken = ReferenceRuntime(graph, threads=threads), []

    def samples() -> Iterator[dict[str, Any]]:
        for index, row in enumerate(given):
            taken.append(index)
            yield {"x": row[None]}

    found = runtime.run_each(samples(), ["l"])
    first = next(found)
    assert len(taken) <= threads + 1, "read as they are needed"
    everything = [first, *found]
    assert torch.get_num_threads() == before
    for row, result in zip(given, everything, strict=True):
        np.testing.assert_array_equal(result["l"], runtime.run({"x": row[None]}, ["l"])["l"])
    wrong = [{"x": given[:1]}, {"z": given[:1]}]
    with pytest.raises(DataError, match="input 'x' is missing"):
        list(runtime.run_each(wrong))


def test_threads_end_with_the_runtime(graph_of: GraphOf) -> None:
    before = set(threading.enumerate())
    runtime = ReferenceRuntime(_network(graph_of, "N"), threads=3)
    for _ in range(3):
        runtime.run(_batch(8))
    begun = set(threading.enumerate()) - before
    assert len(begun) <= 2, "no more than were asked for, whatever the number of runs"
    del runtime
    gc.collect()
    for thread in begun:
        thread.join(timeout=10)
        assert not thread.is_alive()


def test_runs_at_once_share_threads(graph_of: GraphOf) -> None:
    runtime, given = ReferenceRuntime(_network(graph_of, "N"), threads=2), _batch(8)
    expected = runtime.run(given)["y"]
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: runtime.run(given)["y"], range(100)):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no process can be split here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_copy_of_the_process_runs_on_without_the_threads(graph_of: GraphOf) -> None:
    runtime, given = ReferenceRuntime(_network(graph_of, "N"), threads=3), _batch(8)
    expected = runtime.run(given)["y"]
    child = os.fork()
    if not child:
        os._exit(0 if np.array_equal(runtime.run(given)["y"], expected) else 1)
    ends = time.monotonic() + 60
    while not (state := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < ends:
        time.sleep(0.05)
    if not state[0]:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert state == (child, 0)
