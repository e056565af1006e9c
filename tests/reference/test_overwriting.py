"""Results in the memory of an input: the same bits, and nothing that somebody still needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from quantable.ir import DType, Graph, Level, Operation
from quantable.reference import ReferenceRuntime, observe
from quantable.reference.operations.overwriting import BINARY, FRESH, UNARY, overwriting
from quantable.reference.operations.table import FLOAT_OPERATIONS
from quantable.reference.site import Site

GraphOf = Callable[..., Graph]
F32 = DType.FLOAT32
EXTREMES = np.array([-np.inf, -3.5, -0.0, 0.0, 1e-40, 0.5, 6.5, np.inf, np.nan], np.float32)


def _site(kind: str, count: int) -> Site:
    slots = tuple(f"x{index}" for index in range(count))
    constants = {1: torch.tensor(-1.0), 2: torch.tensor(6.0)} if kind == "Clip" else {}
    return Site(Operation("op", kind, slots, ("y",)), constants=constants,
                input_types=(F32,) * count, output_types=(F32,))  # fmt: skip


@pytest.mark.parametrize("kind", sorted({*UNARY, *BINARY}))
def test_the_bits_are_those_of_the_plain_kernel(kind: str) -> None:
    count = {"Clip": 3}.get(kind, 1 if kind in UNARY else 2)
    site = _site(kind, count)
    plain = FLOAT_OPERATIONS[kind](site)
    first = torch.from_numpy(EXTREMES).repeat(9)
    second = torch.from_numpy(EXTREMES).repeat_interleave(9)
    for slot in range(1 if kind in UNARY else 2):
        given = [first.clone(), *([second.clone()] if kind in BINARY else [])]
        more = [site.constants[slot] for slot in sorted(site.constants)]
        expected = plain(*given, *more)
        kernel = overwriting(site, slot)
        assert kernel is not None
        found = kernel(*given, *more)
        assert found.data_ptr() == given[slot].data_ptr()
        assert torch.equal(found.isnan(), expected.isnan())
        bits = [t.nan_to_num(0.0, float("inf"), -float("inf")) for t in (found, expected)]
        assert torch.equal(*(t.view(torch.int32) for t in bits))


def test_what_would_grow_is_not_written_over() -> None:
    kernel = overwriting(_site("Add", 2), 0)
    assert kernel is not None
    small, large = torch.ones(4), torch.ones(3, 4)
    assert kernel(small, large).shape == (3, 4)
    assert torch.equal(small, torch.ones(4))
    scalar = torch.ones(())
    assert kernel(large, scalar).data_ptr() == large.data_ptr()


def test_integers_are_not_written_over() -> None:
    site = replace(_site("Add", 2), input_types=(DType.UINT16,) * 2, output_types=(DType.UINT16,))
    assert overwriting(site, 0) is None
    assert overwriting(_site("Clip", 3), 1) is None
    assert overwriting(replace(_site("Clip", 3), constants={}), 0) is None


FRESH_INPUTS: dict[str, tuple[tuple[int, ...], ...]] = {
    "BatchNormalization": ((1, 2, 3, 3), (2,), (2,), (2,), (2,)),
    "Conv": ((1, 2, 3, 3), (2, 2, 1, 1)),
    "ConvTranspose": ((1, 2, 3, 3), (2, 2, 1, 1)),
    "LayerNormalization": ((2, 3), (3,)),
    **dict.fromkeys(("Add", "Div", "MatMul", "Mul", "Sub", "quantable.Linear"), ((1, 1), (1, 1))),
    **dict.fromkeys(("Gelu", "Relu", "Sigmoid", "Softmax", "Tanh"), ((2, 3),)),
}


@pytest.mark.parametrize("kind", sorted(FRESH))
def test_fresh_results_share_no_memory(kind: str) -> None:
    given = [torch.rand(shape) + 0.5 for shape in FRESH_INPUTS[kind]]
    for constant in (False, True):
        held = dict(enumerate(given[1:], 1)) if constant else {}
        kernel = FLOAT_OPERATIONS[kind](replace(_site(kind, len(given)), constants=held))
        results = [kernel(*given) for _ in range(2)]
        places = [t.untyped_storage().data_ptr() for t in (*given, *results)]
        assert len(set(places)) == len(places)


@pytest.fixture
def graph(graph_of: GraphOf) -> Graph:
    """Values that are read twice, seen through a view, and read once."""
    operations = [
        Operation("a", "Mul", ("x", "x"), ("square",)),
        Operation("b", "Relu", ("square",), ("twice_read",)),
        Operation("c", "Sigmoid", ("twice_read",), ("s",)),
        Operation("d", "Tanh", ("twice_read",), ("t",)),
        Operation("e", "Add", ("s", "t"), ("sum",)),
        Operation("f", "Reshape", ("sum", "shape"), ("view",)),
        Operation("g", "Relu", ("view",), ("r",)),
        Operation("h", "Sub", ("r", "view"), ("y",)),
    ]
    made = dict.fromkeys(("square", "twice_read", "s", "t", "sum", "view", "r", "y"), F32)
    held = {"shape": np.array([0, 2, 2], np.int64)}
    result: Graph = graph_of(Level.FLOAT, operations, {"x": (F32, ("N", 4))}, held, made)
    return result


def test_values_that_are_still_needed_stay(graph: Graph, rng: Any) -> None:
    x = rng.normal(size=(3, 4)).astype(np.float32)
    kept = x.copy()
    everything = [name for name in graph.values if name != "shape"]
    expected = ReferenceRuntime(graph, hooks=(lambda *_: None,)).run({"x": x}, everything)
    runtime = ReferenceRuntime(graph)
    for name, array in runtime.run({"x": x}, everything).items():
        np.testing.assert_array_equal(array, expected[name])
    for name in everything:
        np.testing.assert_array_equal(runtime.run({"x": x}, [name])[name], expected[name])
    np.testing.assert_array_equal(x, kept)
    profile = observe(graph, [{"x": row[None]} for row in x])
    for name, statistics in profile.statistics.items():
        assert statistics.minimum == expected[name].min()
        assert statistics.maximum == expected[name].max()
