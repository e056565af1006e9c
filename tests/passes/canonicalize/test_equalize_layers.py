"""Equalization: the same function, balanced weights, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantable.bench.datasets import NETWORKS
from quantable.driver import api
from quantable.ir import (
    ContentStore,
    DType,
    Graph,
    Level,
    Operation,
    OptionError,
    Value,
    verify,
)
from quantable.passes.base import PassContext, run_pass
from quantable.passes.canonicalize.equalize_layers import EqualizeLayers
from quantable.reference import ReferenceRuntime
from tests.networks.conftest import SHARED, Case

CHANNELS = 8


def chain(rng: np.random.Generator, kinds: list[str]) -> Graph:
    """Return convolutions, depthwise, grouped and whole, with other operations between them."""
    store = ContentStore()
    values = {"x": Value("x", DType.FLOAT32, (1, CHANNELS, 6, 6))}
    held, operations, last = {}, [], "x"
    for index, kind in enumerate(kinds):
        name, inputs = f"v{index}", [last]
        attributes: dict[str, int | float | tuple[int, ...]] = {}
        if kind.startswith("Conv"):
            group = int(kind.removeprefix("Conv") or 1)
            spread = 10.0 ** rng.uniform(-2, 2, (CHANNELS, 1, 1, 1))
            weight = spread * rng.normal(size=(CHANNELS, CHANNELS // group, 3, 3))
            bias = rng.normal(size=CHANNELS)
            for slot, array in (("w", weight), ("b", bias)):
                held[f"{name}.{slot}"] = store.put(array.astype(np.float32))
                inputs.append(f"{name}.{slot}")
            attributes = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1), "group": group}
        elif kind == "MaxPool":
            attributes = {"kernel_shape": (2, 2), "strides": (1, 1), "pads": (0, 0, 1, 1)}
        operations.append(Operation(name, kind.rstrip("0123456789"), inputs, (name,), attributes))
        values[name] = Value(name, DType.FLOAT32, (1, CHANNELS, 6, 6))
        last = name
    values |= {name: Value(name, ref.dtype, ref.shape) for name, ref in held.items()}
    graph = Graph("chain", Level.FLOAT, 21, ("x",), (last,), values, tuple(
        replace(op, inputs=tuple(op.inputs)) for op in operations), held, store=store)  # fmt: skip
    verify(graph)
    return graph


def outputs(graph: Graph, x: np.ndarray) -> np.ndarray:
    (found,) = ReferenceRuntime(graph).run({"x": x}).values()
    return found.astype(np.float64)


KINDS = st.lists(
    st.sampled_from(["Conv", "Conv2", "Conv8", "Relu", "LeakyRelu", "MaxPool"]),
    min_size=2, max_size=8,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(KINDS, st.integers(0, 1 << 16), st.booleans())
def test_the_function_stays(kinds: list[str], seed: int, bias: bool) -> None:
    rng = np.random.default_rng(seed)
    graph = chain(rng, kinds)
    done = run_pass(graph, EqualizeLayers(bias=bias), PassContext())
    x = rng.normal(size=(1, CHANNELS, 6, 6)).astype(np.float32)
    before, after = outputs(graph, x), outputs(done, x)
    assert np.abs(before - after).max() <= 1e-5 * np.abs(before).max()
    assert EqualizeLayers(bias=bias).run(done, PassContext()).level is Level.FLOAT


def largest(graph: Graph, name: str, axis: int) -> np.ndarray:
    """Return the largest weight along an axis of a weight."""
    moved = np.moveaxis(np.abs(graph.array(name)), axis, 0)
    return moved.reshape(CHANNELS, -1).max(axis=1)


def test_both_sides_of_every_channel_become_equal() -> None:
    graph = chain(np.random.default_rng(0), ["Conv", "Relu", "Conv8", "MaxPool", "Conv"])
    done = run_pass(graph, EqualizeLayers(), PassContext())
    for first, second, axis in (("v0.w", "v2.w", 0), ("v2.w", "v4.w", 1)):
        before = largest(graph, first, 0) / largest(graph, second, axis)
        after = largest(done, first, 0) / largest(done, second, axis)
        assert before.max() / before.min() > 10
        assert after == pytest.approx(np.ones(CHANNELS), rel=1e-2)


def test_a_bound_keeps_its_channels_and_a_remark_says_so(parse) -> None:  # type: ignore[no-untyped-def] # fixture of a function
    graph = parse(
        "x: f32[N,2]; w: f32[2,2] = [[8, 1], [4, 1]]; v: f32[2,1] = [[2], [4]]; "
        "lo: f32[] = 0; hi: f32[] = 6\n"
        "a = quantable.Linear(x, w)\nr = Clip(a, lo, hi)\ny = quantable.Linear(r, v)\nreturn y"
    )
    context = PassContext()
    assert EqualizeLayers().run(graph, context) is graph
    assert "bounds the channels" in context.remarks[0][2]


def test_a_value_that_somebody_else_reads_keeps_its_range(parse) -> None:  # type: ignore[no-untyped-def] # as above
    graph = parse(
        "x: f32[N,2]; w: f32[2,2] = [[8, 1], [4, 1]]; v: f32[2,1] = [[2], [4]]\n"
        "a = quantable.Linear(x, w)\ny = quantable.Linear(a, v)\nreturn y, a"
    )
    assert EqualizeLayers().run(graph, PassContext()) is graph


def test_a_channel_without_weights_keeps_its_range(parse) -> None:  # type: ignore[no-untyped-def] # as above
    graph = parse(
        "x: f32[N,2]; w: f32[2,2] = [[8, 0], [4, 0]]; v: f32[2,1] = [[2], [4]]\n"
        "a = quantable.Linear(x, w)\ny = quantable.Linear(a, v)\nreturn y"
    )
    done = EqualizeLayers().run(graph, PassContext())
    assert done.array("w").tolist() == [[4, 0], [2, 0]]
    assert done.array("v").tolist() == [[4], [4]]


def test_no_iterations_is_a_mistake() -> None:
    with pytest.raises(OptionError, match="iterations: expected at least 1, found 0"):
        EqualizeLayers(iterations=0).check()


@pytest.fixture
def per_tensor(tmp_path: Path) -> str:
    """A target with one scale for all channels of a weight."""
    path = tmp_path / "per-tensor.toml"
    path.write_text(
        'extends = "onnxruntime"\nname = "per-tensor"\n[schemes.weight]\ngranularity = "tensor"\n'
        '[schemes.bias]\ngranularity = "tensor"\n'
    )
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet8", "resnet20"])
def test_one_scale_for_all_channels_costs_less(name: str, per_tensor: str) -> None:
    """What it promises, on a real network: less error with weights quantized per tensor."""
    if not SHARED.is_dir():
        pytest.skip("needs the folder of shared networks beside the project")
    case = Case(NETWORKS[name])
    plain = api.canonicalize(api.import_model(case.model))
    balanced = api.optimize(plain, "equalize-layers")
    errors = []
    for graph in (plain, balanced):
        samples = api.open_samples(case.inputs("calibration", 64), graph)
        profile = api.observe(graph, samples)
        quantized = api.calibrate(api.quantize(graph, per_tensor), profile, target=per_tensor)
        errors.append(_error(plain, api.refine(quantized, target=per_tensor), case))
    assert errors[1] < 0.9 * errors[0]


def _error(right: Graph, quantized: Graph, case: Case) -> float:
    total = 0.0
    exact, found = ReferenceRuntime(right), ReferenceRuntime(quantized)
    for sample in case.inputs("evaluation", 64):
        (a,), (b,) = exact.run(sample).values(), found.run(sample).values()
        total += float(np.square(a.astype(np.float64) - b).sum())
    return total
