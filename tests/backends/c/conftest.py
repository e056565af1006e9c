"""A small planned network with a bit of everything: border, arena, views, tables, two outputs."""

from __future__ import annotations

import numpy as np
import pytest

from quantable.backends.c import border
from quantable.ir import (
    ContentStore,
    DType,
    Graph,
    Level,
    MemoryPlan,
    Operation,
    Value,
    verify,
)
from quantable.reference import ReferenceRuntime

U8, I16, F32 = DType.UINT8, DType.INT16, DType.FLOAT32
CLAMP = {"clamp_min": 0, "clamp_max": 255}
WINDOW = {"strides": (1, 1), "pads": (1, 1, 1, 1), "dilations": (1, 1), "kernel_shape": (3, 3)}


def make_graph(name: str = "small", prefix: str = "", seed: int = 5) -> Graph:
    """Return the network: conv -> add -> reshape -> linear; the sum is an output as well.

    Args:
        name: Of the network.
        prefix: Put before every value and operation name, and used as a source name.
        seed: Of the weights.
    """
    random, store = np.random.default_rng(seed), ContentStore()
    parameters = {
        "w": store.put(random.integers(-127, 128, (8, 3, 3, 3)), DType.INT8),
        "b": store.put(random.integers(-900, 900, 8), DType.INT32),
        "m": store.put(random.uniform(1e-4, 4e-3, 8), F32),
        "shape": store.put(np.array([1, 320]), DType.INT64),
        "w2": store.put(random.integers(-127, 128, (320, 4)), DType.INT8),
        "b2": store.put(random.integers(-900, 900, 4), DType.INT32),
        "m2": store.put(random.uniform(1e-2, 4e-2, 4), F32),
    }
    shapes = {
        "x": (F32, (1, 5, 8, 3)), "xq": (U8, (1, 5, 8, 3)), "c": (U8, (1, 5, 8, 8)),
        "s": (U8, (1, 5, 8, 8)), "flat": (U8, (1, 320)), "yq": (I16, (1, 4)), "y": (F32, (1, 4)),
        "r": (U8, (1, 5, 8, 8)), "z": (F32, (1, 5, 8, 8)),
    }  # fmt: skip
    values = {p + n: Value(p + n, *v) for p in [prefix] for n, v in shapes.items()}
    values |= {prefix + n: Value(prefix + n, r.dtype, r.shape) for n, r in parameters.items()}
    graph = Graph(
        name, Level.PLANNED, 21, (prefix + "x",), (prefix + "y", prefix + "z"), values,
        _operations(prefix), {prefix + n: r for n, r in parameters.items()}, target="c-portable",
        plan=MemoryPlan(640, 16, {prefix + n: o for n, o in _OFFSETS.items()}), store=store,
    )  # fmt: skip
    verify(graph)
    return graph


_OFFSETS = {"c": 0, "s": 320, "flat": 320}


def _operations(prefix: str) -> tuple[Operation, ...]:
    def op(name, kind, inputs, outputs, **attributes):
        names = [tuple(prefix + n for n in side.split()) for side in (inputs, outputs)]
        return Operation(prefix + name, kind, *names, attributes, (prefix + "node",))

    return (
        op("quantize", "int.Quantize", "x", "xq", scale=0.02, zero_point=117, **CLAMP),
        op("conv", "int.Conv", "xq w b m", "c", x_zero_point=117, y_zero_point=100, group=1,
           layout="NHWC", **CLAMP, **WINDOW),
        op("add", "int.Add", "c c", "s", a_zero_point=100, b_zero_point=100, a_multiplier=16384,
           b_multiplier=-5000, multiplier=2.0**-13, y_zero_point=90, **CLAMP),
        op("reshape", "Reshape", "s shape", "flat"),
        op("linear", "int.Linear", "flat w2 b2 m2", "yq", x_zero_point=90, y_zero_point=0,
           clamp_min=-32768, clamp_max=32767),
        op("rescale", "int.Requantize", "s", "r", x_zero_point=90, y_zero_point=3,
           multiplier=0.75, **CLAMP),
        op("dequantize", "int.Dequantize", "yq", "y", scale=0.001, zero_point=0),
        op("dequantize.1", "int.Dequantize", "r", "z", scale=0.03, zero_point=3),
    )  # fmt: skip


def make_golden(graph: Graph, count: int = 3) -> dict[str, np.ndarray]:
    """Return golden vectors of the reference for random inputs."""
    random, runtime = np.random.default_rng(9), ReferenceRuntime(graph)
    edges = border(graph)
    names = [tensor.value for tensor in (*edges.inputs, *edges.outputs)]
    runs = []
    for _ in range(count):
        real = {t.name: random.normal(0, 2, t.shape).astype(np.float32) for t in edges.inputs}
        runs.append(runtime.run(real, names))
    return {name: np.stack([run[name] for run in runs]) for name in names}


@pytest.fixture
def graph() -> Graph:
    """The small network."""
    return make_graph()


@pytest.fixture
def golden(graph: Graph) -> dict[str, np.ndarray]:
    """Its golden vectors."""
    return make_golden(graph)


@pytest.fixture
def graph_named():
    """A function that makes the small network under other names."""
    return make_graph


@pytest.fixture
def golden_of():
    """A function that makes golden vectors of a network."""
    return make_golden
