"""Which values of a graph stand for which real numbers, so that stages can be joined.

Float and quantable values stand for themselves. An integer value has the name of the float value
that it stands for, perhaps with a suffix: ``.quantized`` (an output of the network), ``.nhwc`` and
the like (another layout). The integer levels hold no rows: the grid of an integer value comes from
the attributes at the border, through operations that keep the grid, and else from the quantable
graph that was lowered, its origin.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from quantable.ir import (
    DType,
    Graph,
    Level,
    Operation,
    OperationQuantizationConfig,
    QuantableOperation,
    QuantizationParameters,
    TensorQuantizationConfig,
    Value,
)
from quantable.ir.integer_operations import MOVEMENT_OPERATIONS
from quantable.passes.plan.layouts import channels_last, inverse

Array = npt.NDArray[np.generic]
Reals = npt.NDArray[np.float64]
_KEEPS_GRID = frozenset({*MOVEMENT_OPERATIONS, "int.MaxPool"})


@dataclass(frozen=True, slots=True)
class Standing:
    """A value and the real numbers it stands for.

    Attributes:
        key: Name of the float value.
        value: Name of the value in this graph.
        operation: What makes it.
        scale, zero_point: Of an integer value; scale is None for real numbers, and for integers
            whose grid is not known.
        perm: How an integer value is stored, None for its logical form.
    """

    key: str
    value: str
    operation: Operation
    scale: float | None = None
    zero_point: int = 0
    perm: tuple[int, ...] | None = None

    def real(self, stored: Array) -> Reals:
        """Return the real numbers, in their logical form."""
        array = stored if self.perm is None else stored.transpose(inverse(self.perm))
        if self.scale is None:
            return np.asarray(array, np.float64)
        steps = (array.astype(np.int64) - self.zero_point).astype(np.float32)
        return np.asarray(steps * np.float32(self.scale), np.float64)


def standings(
    graph: Graph, origin: Graph | None = None, known: Container[str] = ()
) -> Iterator[Standing]:
    """Yield what stands for real numbers, in topological order.

    Args:
        graph: At any level.
        origin: The quantable graph that an integer one was lowered from.
        known: Names of float values, where there is no origin.
    """
    names = known if origin is None else origin.values
    grids = _grids(graph, origin) if graph.level in (Level.INTEGER, Level.PLANNED) else {}
    for op in graph.operations:
        for name in op.outputs:
            if not name:
                continue
            value = graph.values[name]
            if value.dtype is DType.FLOAT32 and value.is_tensor:
                yield Standing(name, name, op)
            elif graph.level in (Level.INTEGER, Level.PLANNED):
                key, perm = _stands_for(graph.values[name], names)
                grid = grids.get(name)
                if key and (grid is not None or origin is None):
                    scale, zero_point = grid or (None, 0)
                    yield Standing(key, name, op, scale, zero_point, perm)


def _stands_for(value: Value, names: Container[str]) -> tuple[str, tuple[int, ...] | None]:
    """Return the float value that an integer one stands for ('' for none), and its layout."""
    if value.name in names:
        return value.name, None
    base, _, last = value.name.rpartition(".")
    rank = len(value.shape or ())
    perm: tuple[int, ...] | None = None
    if last in ("nhwc", "nwc") and rank == {"nhwc": 4, "nwc": 3}[last]:
        perm = channels_last(rank)
    elif last[:1] == "p" and sorted(last[1:]) == [str(axis) for axis in range(rank)]:
        perm = tuple(int(axis) for axis in last[1:])
    if perm is not None:
        if base in names:
            return base, perm
        base, _, last = base.rpartition(".")
    if last == "quantized" and base in names:
        return base, perm
    return "", None


Grid = tuple[float | None, int]


def _grids(graph: Graph, origin: Graph | None) -> Mapping[str, Grid]:
    """Return scale and zero point of the integer values for which they are known."""
    found: dict[str, Grid] = {}
    for op in graph.operations:
        if op.kind == "int.Quantize":
            found[op.outputs[0]] = op.float_attribute("scale"), op.int_attribute("zero_point")
        elif op.kind == "int.Dequantize":
            found[op.inputs[0]] = op.float_attribute("scale"), op.int_attribute("zero_point")
        elif op.kind in _KEEPS_GRID:
            grid = found.get(op.inputs[0])
            found.update({name: grid for name in op.outputs if name and grid is not None})
        elif origin is not None:
            grid = _grid_of_origin(graph, op, origin)
            found.update({op.outputs[0]: grid} if grid is not None else {})
    return found


def _grid_of_origin(graph: Graph, op: Operation, origin: Graph) -> Grid | None:
    key, _ = _stands_for(graph.values[op.outputs[0]], origin.values)
    producer = origin.producers.get(key)
    if not isinstance(producer, QuantableOperation):
        return None
    config = producer.config.outputs[producer.outputs.index(key)]
    row = origin.rows.get(config.row)
    if row is None or len(row.scale) != 1:
        return None
    expected = op.attributes.get("y_zero_point", row.zero_point[0])
    return (row.scale[0], row.zero_point[0]) if expected == row.zero_point[0] else None


@dataclass(frozen=True, slots=True)
class OutputQuantizer:
    """What quantizes a value where it is made.

    Attributes:
        real: Name of the value before quantization, in the graph of `with_real_values`.
        config, row: How it is quantized.
    """

    real: str
    config: TensorQuantizationConfig
    row: QuantizationParameters


def with_real_values(graph: Graph) -> tuple[Graph, dict[str, OutputQuantizer]]:
    """Return a quantable graph that also shows what its output slots are about to quantize.

    Each operation whose output slot quantizes writes a value of its own, which an Identity then
    quantizes: the same numbers everywhere else.
    """
    operations: list[Operation] = []
    values = dict(graph.values)
    found: dict[str, OutputQuantizer] = {}
    for op in graph.operations:
        behind: list[Operation] = []
        if isinstance(op, QuantableOperation):
            for slot, config in enumerate(op.config.outputs):
                name = op.outputs[slot]
                if name and config.state.is_in_force and not config.policy.dynamic:
                    real = _fresh(f"{name}.real", values)
                    values[real] = replace(values[name], name=real)
                    found[name] = OutputQuantizer(real, config, graph.rows[config.row])
                    behind.append(_identity(op, real, name, config))
                    outputs = (*op.outputs[:slot], real, *op.outputs[slot + 1 :])
                    op = replace(op, outputs=outputs).with_slot("out", slot, _nothing(config))
        operations += [op, *behind]
    return replace(graph, operations=tuple(operations), values=values), found


def _nothing(config: TensorQuantizationConfig) -> TensorQuantizationConfig:
    return config.unquantized()


def _identity(
    op: Operation, real: str, name: str, config: TensorQuantizationConfig
) -> QuantableOperation:
    slots = OperationQuantizationConfig((_nothing(config),), (config,))
    return QuantableOperation(
        f"{real}.quantize", "Identity", (real,), (name,), {}, op.sources, slots
    )


def _fresh(name: str, taken: Container[str]) -> str:
    while name in taken:
        name += "_"
    return name
