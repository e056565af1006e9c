"""Networks of independent operations, run by compiled kernels and by the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from quantable.adapters.c_compiler import CompiledModel
from quantable.backends.c import emit
from quantable.ir import (
    Attribute,
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
from quantable.targets.kernel_sets import PORTABLE, KernelSet

Array = npt.NDArray[np.generic]
VECTORS = 3
ACTIVATIONS = (DType.UINT8, DType.INT8, DType.UINT16, DType.INT16)


class Network:
    """A planned graph in the making; its inputs and results are integers at the border."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.fixed: dict[str, npt.ArrayLike] = {}
        """Inputs that are given."""
        self._store = ContentStore()
        self._values: dict[str, Value] = {}
        self._inputs: list[str] = []
        self._outputs: list[str] = []
        self._operations: list[Operation] = []
        self._parameters: dict[str, object] = {}

    def integers(self, dtype: DType, shape: Sequence[int]) -> Array:
        """Return integers over the whole range of a type, its ends more often than chance."""
        drawn = self.random.integers(dtype.minimum, dtype.maximum, tuple(shape), endpoint=True)
        ends = self.random.choice([dtype.minimum, dtype.maximum], tuple(shape))
        return np.where(self.random.random(tuple(shape)) < 0.1, ends, drawn).astype(dtype.numpy)

    def input(self, dtype: DType, shape: Sequence[int]) -> str:
        """Add a graph input."""
        name = self._value(f"x{len(self._inputs)}", dtype, shape)
        self._inputs.append(name)
        return name

    def parameter(self, array: npt.ArrayLike, dtype: DType) -> str:
        """Add a constant."""
        ref = self._store.put(np.asarray(array), dtype)
        name = self._value(f"w{len(self._parameters)}", dtype, ref.shape)
        self._parameters[name] = ref
        return name

    def apply(
        self,
        kind: str,
        inputs: Sequence[str],
        *outputs: tuple[DType, Sequence[int]],
        **attributes: Attribute,
    ) -> None:
        """Add an operation whose outputs are graph outputs."""
        index = len(self._operations)
        names = [self._value(f"y{index}.{i}", *out) for i, out in enumerate(outputs)]
        operation = Operation(f"op{index}", kind, tuple(inputs), tuple(names), attributes)
        self._operations.append(operation)
        self._outputs += names

    def zero_point(self, dtype: DType) -> int:
        """Return a zero point of a type, often an extreme one."""
        drawn = int(self.random.integers(dtype.minimum, dtype.maximum, endpoint=True))
        return int(self.random.choice([dtype.minimum, dtype.maximum, drawn]))

    def requantization(self, dtype: DType) -> dict[str, int]:
        """Return zero point and clamp for an output, the clamp often the whole type."""
        low, high = dtype.minimum, dtype.maximum
        if self.random.random() < 0.4:
            low, high = sorted(int(self.random.integers(low, high)) for _ in "ab")
        zero = self.zero_point(dtype)
        return {"y_zero_point": zero, "clamp_min": low, "clamp_max": high}

    def multipliers(self, count: int, dtype: DType, sum_range: float) -> Array:
        """Return multipliers that bring sums of a range onto an output type, and far beyond."""
        spread = self.random.choice([0.01, 0.5, 1.0, 40.0], count)
        scale = (dtype.maximum - dtype.minimum) / max(sum_range, 1.0)
        return (self.random.uniform(0.5, 1.5, count) * spread * scale).astype(np.float32)

    def add_bytes(self, count: int, factors: tuple[int, int], dtype: DType = DType.UINT8) -> None:
        """Add an int.Add of two new inputs of bytes."""
        operands = [self.input(dtype, (1, count)) for _ in "ab"]
        zeros = {f"{side}_zero_point": self.zero_point(dtype) for side in "ab"}
        scales = {f"{s}_multiplier": f for s, f in zip("ab", factors, strict=True)}
        multiplier = float(np.float32(self.random.choice([1e-5, 1e-4, 1.0])))
        self.apply(
            "int.Add", operands, (dtype, (1, count)), **zeros, **scales,
            multiplier=multiplier, **self.requantization(dtype),
        )  # fmt: skip

    def table(self, dtype: DType) -> str:
        """Add a table of 256 random entries."""
        return self.parameter(self.integers(dtype, (256,)), dtype)

    def softmax(
        self, x_type: DType, y_type: DType, rows: int, count: int, scale: float, bits: int = 8,
        zero: int = 0,
    ) -> None:  # fmt: skip
        """Add an int.Softmax of a new input, [rows, count], with a scale of its integers."""
        steps = np.arange(256) * np.float64(scale)
        low = np.rint(np.exp(-steps) * 2**30)
        high = np.rint(np.exp(-256 * steps) * 2**30)[: 1 if x_type.bits == 8 else 256]
        tables = [self.parameter(table, DType.UINT32) for table in (high, low)]
        self.apply(
            "int.Softmax", (self.input(x_type, (rows, count)), *tables), (y_type, (rows, count)),
            y_zero_point=zero, fraction_bits=bits,
        )  # fmt: skip

    def layer_normalization(self, x_type: DType, y_type: DType, rows: int, count: int) -> None:
        """Add an int.LayerNormalization of a new input, [rows, count]."""
        gamma = self.random.integers(-32767, 32767, count)
        beta = self.random.integers(-(2**33), 2**33, count)
        operands = (
            self.input(x_type, (rows, count)),
            self.parameter(gamma, DType.INT32),
            self.parameter(beta, DType.INT64),
        )
        self.apply(
            "int.LayerNormalization", operands, (y_type, (rows, count)),
            epsilon=int(self.random.integers(1, 10**6)),
            multiplier=float(self.multipliers(1, y_type, 16384.0 * 32767 * 4)[0]),
            **self.requantization(y_type),
        )  # fmt: skip

    def graph(self) -> Graph:
        """Return the graph, verified; nothing of it needs the arena."""
        graph = Graph(
            "network", Level.PLANNED, 21, tuple(self._inputs), tuple(self._outputs), self._values,
            tuple(self._operations), self._parameters, plan=MemoryPlan(0, 16, {}),
            store=self._store,
        )  # fmt: skip
        verify(graph)
        return graph

    def samples(self) -> dict[str, Array]:
        """Return inputs with a leading axis of vectors: random, and both ends of the types."""
        found = {}
        for name in self._inputs:
            value = self._values[name]
            shape = tuple(int(dim) for dim in value.shape or ())
            vectors = [self.integers(value.dtype, shape) for _ in range(VECTORS - 1)]
            end = self.random.choice([value.dtype.minimum, value.dtype.maximum])
            found[name] = np.stack([*vectors, np.full(shape, end, value.dtype.numpy)])
            if name in self.fixed:
                found[name][:] = self.fixed[name]
        return found

    def _value(self, name: str, dtype: DType, shape: Sequence[int]) -> str:
        self._values[name] = Value(name, dtype, tuple(int(dim) for dim in shape))
        return name


@pytest.fixture(params=[1, *(pytest.param(seed, marks=pytest.mark.fuzz) for seed in range(2, 12))])
def network(request: pytest.FixtureRequest) -> Network:
    """An empty network, with its own random numbers."""
    return Network(request.param)


@pytest.fixture
def agree(tmp_path: Path) -> Callable[[Network], dict[str, Array]]:
    """Compile a network, demand the reference's results, and return inputs and results."""

    def run(
        network: Network, flags: Sequence[str] = ("-O2",), kernels: KernelSet = PORTABLE
    ) -> dict[str, Array]:
        graph, samples = network.graph(), network.samples()
        emit(graph, tmp_path, kernels=kernels)
        found = CompiledModel(tmp_path, flags=flags).run(samples)
        reference = ReferenceRuntime(graph)
        for vector in range(VECTORS):
            expected = reference.run({name: array[vector] for name, array in samples.items()})
            for name, array in expected.items():
                operation = graph.producers[name]
                np.testing.assert_array_equal(
                    found[name][vector], array, f"{operation.kind} {dict(operation.attributes)}"
                )
        return {**samples, **found}

    return run
