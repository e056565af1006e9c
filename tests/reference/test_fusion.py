"""Convolution and clamp in one step: the results of two, whatever the inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantable.frontend import import_model
from quantable.ir import DType, Graph, Level, Operation
from quantable.reference import FloatExecutor, ReferenceRuntime
from quantable.reference.fusion import fused
from quantable.reference.operations.convolution import HAS_ONEDNN
from quantable.reference.steps import Step, compile_steps

pytestmark = pytest.mark.skipif(not HAS_ONEDNN, reason="this torch has no oneDNN")

GraphOf = Callable[..., Graph]
F32 = DType.FLOAT32
WORST = (np.nan, np.inf, -np.inf, 3e38, 1e20, 70000.0)
MADE = dict.fromkeys(("c", "r", "d", "y"), F32)


def _network(
    graph_of: GraphOf, seed: int, group: int, window: dict[str, Any], low: Any, high: Any
) -> Graph:
    """Return Conv, Clip, Conv, Relu on a batch of images [N, 4, 9, 7]."""
    rng = np.random.default_rng(seed)
    held = {"w": rng.normal(size=(8, 4 // group, *window["kernel_shape"])), "b": rng.normal(size=8),
            "v": rng.normal(size=(5, 8, 1, 1))}  # fmt: skip
    held |= {name: end for name, end in (("low", low), ("high", high)) if end is not None}
    ends = ("low" if low is not None else "", "high" if high is not None else "")
    operations = [
        Operation("conv", "Conv", ("x", "w", "b"), ("c",), {**window, "group": group}),
        Operation("clip", "Clip", ("c", *ends), ("r",)),
        Operation("mix", "Conv", ("r", "v"), ("d",), {"kernel_shape": (1, 1)}),
        Operation("relu", "Relu", ("d",), ("y",)),
    ]
    held = {name: np.asarray(array, np.float32) for name, array in held.items()}
    graph: Graph = graph_of(Level.FLOAT, operations, {"x": (F32, ("N", 4, 9, 7))}, held, MADE)
    image = replace(graph.values["r"], shape=("N", 8, 9, 7))
    return replace(graph, values={**graph.values, "r": image})


def _steps(graph: Graph) -> list[Step]:
    return compile_steps(graph, {}, lambda *_: {})


def _apart(graph: Graph, given: Any, wanted: Any = None) -> dict[str, np.ndarray]:
    """Run a graph step by step: hooks see every value."""
    found = ReferenceRuntime(graph, hooks=(lambda *_: None,)).run(given, wanted)
    return {name: np.asarray(array) for name, array in found.items()}


def _assert_same_bits(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    bits = [np.nan_to_num(a, nan=0.0, posinf=np.inf, neginf=-np.inf) for a in (found, expected)]
    np.testing.assert_array_equal(*(array.view(np.int32) for array in bits))


WINDOWS = st.fixed_dictionaries(
    {
        "kernel_shape": st.sampled_from([(1, 1), (3, 3), (2, 3)]),
        "strides": st.sampled_from([(1, 1), (2, 2)]),
        "pads": st.sampled_from([(0, 0, 0, 0), (1, 1, 1, 1), (0, 0, 1, 1)]),
    }
)
ENDS = st.sampled_from([(0, 6), (-1, 0.5), (None, 0.5), (-0.5, None), (0, np.inf), (0.5, 0.5)])


@given(
    st.integers(0, 99), st.sampled_from([1, 4]), WINDOWS, ENDS,
    st.lists(st.tuples(st.integers(0, 251), st.sampled_from(WORST)), max_size=3),
)  # fmt: skip
@settings(max_examples=30)
def test_results_are_those_of_two_steps(
    graph_of: GraphOf, seed: int, group: int, window: Any, ends: Any, worst: Any
) -> None:
    graph = _network(graph_of, seed, group, window, *ends)
    found = fused(graph, _steps(graph))
    assert found is not None
    assert found.hidden == {"c", "d"}
    assert [step.operation.name for step in found.steps] == ["conv", "mix"]
    x = np.random.default_rng(seed).normal(size=(1, 4, 9, 7)).astype(np.float32)
    for place, value in worst:
        x.reshape(-1)[place] = value
    runtime = ReferenceRuntime(graph)
    expected = _apart(graph, {"x": x}, MADE)
    _assert_same_bits(runtime.run({"x": x})["y"], expected["y"])
    for name in MADE:  # a value between the two is there when somebody wants it
        _assert_same_bits(runtime.run({"x": x}, [name])[name], expected[name])


PLAIN = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}


@pytest.mark.parametrize("worst", WORST)
def test_a_sample_that_is_out_of_bounds_stays_what_it_is(graph_of: GraphOf, worst: float) -> None:
    """Clip keeps a NaN; the clamp of a convolution would make 0 of it."""
    graph = _network(graph_of, 1, 1, PLAIN, 0, 6)
    x = np.random.default_rng(1).normal(size=(4, 4, 9, 7)).astype(np.float32)
    x[2, 1, 4, 3] = worst
    y = ReferenceRuntime(graph, threads=2).run({"x": x})["y"]
    for index, row in enumerate(x):
        _assert_same_bits(y[index : index + 1], _apart(graph, {"x": row[None]})["y"])
    assert np.isnan(y[2]).any() == np.isnan(worst)


def test_no_elements_are_clamped_too(graph_of: GraphOf) -> None:
    graph = _network(graph_of, 1, 1, PLAIN, 0, 6)
    assert ReferenceRuntime(graph).run({"x": np.zeros((0, 4, 9, 7), np.float32)})["y"].size == 0


def _changed(graph: Graph, index: int, **changes: Any) -> Graph:
    operations = list(graph.operations)
    operations[index] = replace(operations[index], **changes)
    return replace(graph, operations=tuple(operations))


def test_what_is_not_fused(graph_of: GraphOf) -> None:
    def hidden(graph: Graph) -> set[str]:
        found = fused(graph, _steps(graph))
        return set() if found is None else set(found.hidden)

    graph = _network(graph_of, 1, 1, PLAIN, 0, 6)
    assert hidden(graph) == {"c", "d"}
    assert hidden(replace(graph, outputs=("y", "c"))) == {"d"}, "an output of the graph"
    twice = Operation("more", "Add", ("y", "d"), ("z",))
    values = {**graph.values, "z": replace(graph.values["y"], name="z")}
    more = replace(graph, operations=(*graph.operations, twice), outputs=("z",), values=values)
    assert hidden(more) == {"c"}, "two readers"
    assert hidden(_changed(graph, 3, kind="Sigmoid")) == {"c"}, "no clamp"
    assert hidden(_changed(graph, 1, kind="Exp", inputs=("c",))) == set(), "no bound behind it"
    assert hidden(_network(graph_of, 1, 1, PLAIN, 6, 0)) == {"d"}, "ends that cross"
    huge = np.full((8, 4, 3, 3), 1e30, np.float32)
    overflowing = replace(graph, parameters={**graph.parameters, "w": graph.store.put(huge)})
    assert hidden(overflowing) == {"d"}, "sums that may overflow"
    assert hidden(replace(graph, level=Level.QUANTABLE)) == set()


@pytest.mark.parametrize("name", ["mobilenetv1_vww", "mobilenetv2_keras", "resnet8"])
def test_networks(name: str) -> None:
    folder = Path(__file__).parents[2].parent / "shared" / "models"
    if not folder.is_dir():
        pytest.skip("the shared networks (../shared/models) are absent")
    graph = import_model(folder / f"{name}.onnx", executor=FloatExecutor())
    assert fused(graph, _steps(graph)) is not None
    shapes = {n: [d if isinstance(d, int) else 1 for d in graph.shape(n)] for n in graph.inputs}
    x = {n: np.random.default_rng(3).normal(size=s).astype(np.float32) for n, s in shapes.items()}
    found, expected = ReferenceRuntime(graph).run(x), _apart(graph, x)
    for output in graph.outputs:
        _assert_same_bits(found[output], expected[output])
