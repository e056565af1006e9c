"""Small integer graphs, and a simulation of the memory plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from quantable.ir import Attribute, DType, Graph, GraphEditor, Level, verify
from quantable.ir.graph import Dim
from quantable.ir.integer_operations import ELEMENTWISE_OPERATIONS
from quantable.ir.memory_check import border_values
from quantable.passes.base import Pass, PassContext, run_pass
from quantable.reference import ReferenceRuntime

OUT = {"y_zero_point": 3, "clamp_min": 0, "clamp_max": 255}
Array = npt.NDArray[np.generic]


class Network:
    """Collects integer operations on uint8 values; every one has one output, named like it."""

    def __init__(self, **inputs: Sequence[Dim]) -> None:
        self.editor = GraphEditor(Graph("test", Level.INTEGER, 21))
        for name, shape in inputs.items():
            self.editor.inputs.append(self.editor.add_value(name, DType.FLOAT32, tuple(shape)))

    def shape(self, value: str) -> tuple[Dim, ...]:
        shape = self.editor.values[value].shape
        assert shape is not None
        return shape

    def add(
        self, name: str, kind: str, inputs: Sequence[str], shape: Sequence[Dim],
        dtype: DType = DType.UINT8, **attributes: Attribute,
    ) -> str:  # fmt: skip
        value = self.editor.add_value(name, dtype, tuple(shape))
        self.editor.add_operation(f"op {name}", kind, inputs, [value], attributes)
        return value

    def constant(self, name: str, contents: npt.ArrayLike, dtype: DType | None = None) -> str:
        return self.editor.add_parameter(name, contents, dtype)

    def quantize(self, name: str, x: str) -> str:
        return self.add(name, "int.Quantize", [x], self.shape(x), scale=1.0, zero_point=3,
                        clamp_min=0, clamp_max=255)  # fmt: skip

    def requantize(self, name: str, x: str, dtype: DType = DType.UINT8) -> str:
        out = {**OUT, "clamp_max": 250}
        return self.add(name, "int.Requantize", [x], self.shape(x), dtype, x_zero_point=3,
                        multiplier=0.75, **out)  # fmt: skip

    def sum(self, name: str, a: str, b: str) -> str:
        pair = [self.editor.values[v].shape or () for v in (a, b)]
        shape = pair[0] if len(pair[0]) >= len(pair[1]) else pair[1]
        factors = {"a_multiplier": 16384, "b_multiplier": 9000, "multiplier": 2.0**-15}
        return self.add(
            name, "int.Add", [a, b], shape, a_zero_point=3, b_zero_point=3, **factors, **OUT
        )

    def conv(self, name: str, x: str, channels: int, pads: Sequence[int] = (1, 1, 1, 1)) -> str:
        n, c, h, w = self.shape(x)
        assert isinstance(c, int)
        assert isinstance(h, int)
        assert isinstance(w, int)
        rng = np.random.default_rng(len(name) + channels)
        operands = [
            x,
            self.constant(f"{name}.w", rng.integers(-9, 9, (channels, c, 3, 3)), DType.INT8),
            self.constant(f"{name}.b", rng.integers(-99, 99, channels), DType.INT32),
            self.constant(f"{name}.m", rng.uniform(0.01, 0.1, channels), DType.FLOAT32),
        ]
        shape = (n, channels, h + pads[0] + pads[2] - 2, w + pads[1] + pads[3] - 2)
        return self.add(name, "int.Conv", operands, shape, x_zero_point=3, group=1,
                        kernel_shape=(3, 3), strides=(1, 1), dilations=(1, 1),
                        pads=tuple(pads), **OUT)  # fmt: skip

    def max_pool(self, name: str, x: str) -> str:
        n, c, h, w = self.shape(x)
        shape = (n, c, int(h) // 2, int(w) // 2)
        return self.add(name, "int.MaxPool", [x], shape, kernel_shape=(2, 2), strides=(2, 2),
                        pads=(0, 0, 0, 0), dilations=(1, 1))  # fmt: skip

    def transpose(self, name: str, x: str, perm: Sequence[int]) -> str:
        shape = [self.shape(x)[axis] for axis in perm]
        return self.add(name, "Transpose", [x], shape, perm=tuple(perm))

    def reshape(self, name: str, x: str, shape: Sequence[Dim]) -> str:
        target = [dim if isinstance(dim, int) else -1 for dim in shape]
        return self.add(name, "Reshape", [x, self.constant(f"{name}.s", target)], shape)

    def mean(self, name: str, x: str, axes: Sequence[int], keepdims: int) -> str:
        kept = [1 if i in axes else dim for i, dim in enumerate(self.shape(x))]
        shape = [d for i, d in enumerate(kept) if keepdims or i not in axes]
        return self.add(name, "int.ReduceMean", [x], shape, x_zero_point=3, multiplier=0.05,
                        axes=tuple(axes), keepdims=keepdims, **OUT)  # fmt: skip

    def finish(self, *outputs: str) -> Graph:
        for name in outputs:
            dtype = self.editor.values[name].dtype
            assert dtype is not DType.FLOAT32
            real = self.editor.add_value(f"{name}.real", DType.FLOAT32, self.shape(name))
            self.editor.add_operation(f"op {real}", "int.Dequantize", [name], [real],
                                      {"scale": 1.0, "zero_point": 3})  # fmt: skip
            self.editor.outputs.append(real)
        graph = self.editor.finish()
        verify(graph)
        return graph


def inputs_of(graph: Graph, batch: int = 1) -> dict[str, Array]:
    """Return random inputs, symbols bound to `batch`."""
    rng = np.random.default_rng(5)
    shapes = {n: graph.values[n].shape or () for n in graph.inputs}
    return {
        name: rng.uniform(0, 250, [d if isinstance(d, int) else batch for d in shape]).astype("f4")
        for name, shape in shapes.items()
    }


def assert_same_results(first: Graph, second: Graph) -> None:
    """Assert that two graphs give the same bits."""
    inputs = inputs_of(first)
    a, b = ReferenceRuntime(first).run(inputs), ReferenceRuntime(second).run(inputs)
    assert list(a) == list(b)
    for name in a:
        assert np.array_equal(a[name], b[name]), name


def simulate_plan(graph: Graph, inputs: Mapping[str, Array]) -> None:
    """Assert that every operation finds in the arena what was written for it.

    Every output is written to its offset as bytes, and what lies at the offsets of the inputs must
    still be their contents: before the writing for elementwise operations, else even after it
    (a convolution reads what is beside the element that it writes). Reshapes write nothing.
    """
    assert graph.plan is not None
    activations = [n for n in graph.values if not graph.is_parameter(n)]
    held = ReferenceRuntime(graph).run(inputs, outputs=activations)
    arena = np.zeros(graph.plan.arena_bytes, np.uint8)
    border = border_values(graph)
    for op in graph.operations:
        if op.kind == "Reshape":
            places = [graph.plan.offsets.get(name) for name in (op.inputs[0], op.outputs[0])]
            assert places[0] == places[1] or border & {op.inputs[0], op.outputs[0]}
            continue
        read = [name for name in op.inputs if name in graph.plan.offsets]
        written = [name for name in op.outputs if name in graph.plan.offsets]
        assert not border.intersection(written)
        if op.kind in ELEMENTWISE_OPERATIONS:
            _check(arena, graph, read, held)
        for name in written:
            _view(arena, graph, name, held)[:] = np.frombuffer(held[name].tobytes(), np.uint8)
        if op.kind not in ELEMENTWISE_OPERATIONS:
            _check(arena, graph, read, held)


def _check(arena: Array, graph: Graph, names: Sequence[str], held: Mapping[str, Array]) -> None:
    for name in names:
        assert _view(arena, graph, name, held).tobytes() == held[name].tobytes(), name


def _view(arena: Array, graph: Graph, name: str, held: Mapping[str, Array]) -> Array:
    assert graph.plan is not None
    offset = graph.plan.offsets[name]
    assert offset + held[name].nbytes <= arena.size, name
    return arena[offset : offset + held[name].nbytes]


class Planning:
    """What the tests of this folder use (they cannot import a conftest)."""

    Network = Network
    inputs_of = staticmethod(inputs_of)
    assert_same_results = staticmethod(assert_same_results)
    simulate_plan = staticmethod(simulate_plan)

    @staticmethod
    def after(graph: Graph, item: Pass) -> Graph:
        return run_pass(graph, item, PassContext())

    @staticmethod
    def kinds(graph: Graph) -> list[str]:
        """Return the kinds between the borders."""
        border = ("int.Quantize", "int.Dequantize")
        return [op.kind for op in graph.operations if op.kind not in border]


@pytest.fixture(scope="session")
def planning() -> Planning:
    return Planning()
