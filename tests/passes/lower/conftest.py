"""A builder of small quantable graphs with rows given by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from quantable.ir import (
    Attribute,
    DType,
    Granularity,
    Graph,
    GraphEditor,
    Level,
    OperationQuantizationConfig,
    QuantableOperation,
    QuantizationParameters,
    QuantizationPolicy,
    Relation,
    State,
    Symmetry,
    TensorQuantizationConfig,
    verify,
)
from quantable.ir.numerics import scale_from_range
from quantable.passes.base import PassContext, run_pass
from quantable.passes.lower.lower_to_integer import LowerToInteger
from quantable.reference import FloatExecutor, ReferenceRuntime

RANGES = {"u8": (0, 255), "i8": (-128, 127), "i16": (-32768, 32767), "u16": (0, 65535)}
ASYMMETRIC = QuantizationPolicy(symmetry=Symmetry.ASYMMETRIC)


def activation(kind: str, low: float, high: float) -> tuple[TensorQuantizationConfig, float, int]:
    """Return a config with scale and zero point that cover a real range."""
    quant_min, quant_max = RANGES[kind]
    config = TensorQuantizationConfig(
        ASYMMETRIC, 8 if kind[1:] == "8" else 16, 0, quant_min, quant_max
    )
    scale, zero = scale_from_range(low, high, config)
    return config, float(scale[0]), int(zero[0])


class Network:
    """Collects operations; every slot is given as a range, a row to overlap with, or nothing."""

    def __init__(self, inputs: Mapping[str, Sequence[int | str]]) -> None:
        self.editor = GraphEditor(Graph("test", Level.FLOAT, 21))
        self.rows: dict[str, QuantizationParameters] = {}
        self.configs: dict[str, OperationQuantizationConfig] = {}
        for name, shape in inputs.items():
            self.editor.inputs.append(self.editor.add_value(name, DType.FLOAT32, tuple(shape)))

    def parameter(self, name: str, contents: npt.ArrayLike) -> str:
        return self.editor.add_parameter(name, contents)

    def own(self, row: str, kind: str, low: float, high: float) -> TensorQuantizationConfig:
        """Return an activated slot with a row of its own."""
        config, scale, zero = activation(kind, low, high)
        self.rows[row] = QuantizationParameters(row, (scale,), (zero,))
        return replace(config, state=State.ACTIVATED, relation=Relation.OWN, row=row)

    def overlapped(self, like: TensorQuantizationConfig) -> TensorQuantizationConfig:
        return replace(like, state=State.OVERLAPPED, relation=Relation.OVERLAPPED)

    def weight(
        self, row: str, values: npt.NDArray[np.float32], axis: int, bits: int = 8
    ) -> TensorQuantizationConfig:
        policy = QuantizationPolicy(Granularity.PER_CHANNEL)
        top = 2 ** (bits - 1) - 1
        config = TensorQuantizationConfig(policy, bits, 0, -top, top, channel_axis=axis)
        largest = np.abs(np.moveaxis(values, axis, 0)).reshape(values.shape[axis], -1).max(axis=1)
        scale, zero = scale_from_range(-largest, largest, config)
        self.rows[row] = QuantizationParameters(row).filled(scale, zero, "test")
        return replace(config, state=State.ACTIVATED, relation=Relation.OWN, row=row)

    def bias(
        self, row: str, x: TensorQuantizationConfig, weight: TensorQuantizationConfig
    ) -> TensorQuantizationConfig:
        policy = QuantizationPolicy(Granularity.PER_CHANNEL)
        config = TensorQuantizationConfig(policy, 32, 0, -(2**31), 2**31 - 1, channel_axis=0)
        scale = self.rows[x.row].scale_array * self.rows[weight.row].scale_array
        filled = QuantizationParameters(row, derived_from=(x.row, weight.row))
        self.rows[row] = filled.filled(scale, 0, "test")
        return replace(config, state=State.PASSIVE, relation=Relation.DERIVED, row=row)

    def add(
        self,
        name: str,
        kind: str,
        inputs: Sequence[str],
        shape: Sequence[int | str],
        configs: Sequence[TensorQuantizationConfig],
        output: TensorQuantizationConfig,
        **attributes: Attribute,
    ) -> str:
        """Add an operation with one output of its own name with '.y'."""
        value = self.editor.add_value(f"{name}.y", DType.FLOAT32, tuple(shape))
        self.editor.add_operation(name, kind, inputs, [value], attributes, [f"node {name}"])
        self.configs[name] = OperationQuantizationConfig(tuple(configs), (output,))
        return value

    def finish(self, *outputs: str) -> Graph:
        """Return the verified quantable graph with its parameters baked."""
        self.editor.outputs = list(outputs)
        graph = self.editor.finish()
        made = [
            QuantableOperation.create(op, self.configs[op.name], "test", graph.parameters)
            for op in graph.operations
        ]
        baked = [op.bake_parameters(graph.parameters, self.rows, graph.store) for op in made]
        graph = replace(graph, level=Level.QUANTABLE, operations=tuple(baked), rows=self.rows)
        verify(graph)
        return graph


def lowered(graph: Graph) -> Graph:
    """Return what the pass makes of a graph."""
    return run_pass(graph, LowerToInteger(), PassContext(executor=FloatExecutor()))


def steps_apart(graph: Graph, *samples: npt.ArrayLike) -> int:
    """Return by how many steps the integer level differs from the simulation, at most.

    Args:
        graph: A quantable graph.
        samples: A float array for every input, in order.
    """
    integer = lowered(graph)
    inputs = {n: np.asarray(s, np.float32) for n, s in zip(graph.inputs, samples, strict=True)}
    expected = ReferenceRuntime(graph).run(inputs)
    found = ReferenceRuntime(integer).run(inputs)
    apart = 0
    for name in graph.outputs:
        scale = integer.producers[name].float_attribute("scale")
        steps = np.rint((expected[name].astype(np.float64) - found[name]) / scale)
        apart = max(apart, int(np.abs(steps).max()))
    return apart


class Building:
    """What the tests of this folder build and compare with (they cannot import a conftest)."""

    Network = Network
    FREE = TensorQuantizationConfig()  # a slot that is not quantized
    lowered = staticmethod(lowered)
    steps_apart = staticmethod(steps_apart)


@pytest.fixture(scope="session")
def building() -> Building:
    return Building()
