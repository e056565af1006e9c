"""Single slots put on, off, or on another grid: what analyses change about an operation.

The mechanism is the IR's own: a slot that is off is suspended, one that is on has the config that
the graph gave it, and one on another grid has another row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from quantable.ir import (
    ContentRef,
    Graph,
    QuantableOperation,
    QuantizationParameters,
    State,
    TensorQuantizationConfig,
)
from quantable.ir.numerics import along

Array = npt.NDArray[np.generic]
FINE_BITS = 14
"""A grid with so many bits more and the same ends clips like the one it is made from, and rounds
84 dB less."""
_MOST_BITS = 32


@dataclass(frozen=True, slots=True)
class Place:
    """A slot of an operation.

    Attributes:
        operation: Name of the operation.
        side: 'in' or 'out'.
        index: Slot number.
    """

    operation: str
    side: str
    index: int

    def config(self, graph: Graph) -> TensorQuantizationConfig:
        """Return the slot's config in a graph."""
        op = _operation(graph, self.operation)
        return (op.config.inputs if self.side == "in" else op.config.outputs)[self.index]

    def value(self, graph: Graph) -> str:
        """Return the name of the slot's value."""
        op = graph.operation_by_name[self.operation]
        return (op.inputs if self.side == "in" else op.outputs)[self.index]

    def is_parameter(self, graph: Graph) -> bool:
        """Return whether the slot reads a parameter."""
        return self.side == "in" and graph.is_parameter(self.value(graph))

    def original(self, graph: Graph) -> ContentRef:
        """Return what the float network takes for the slot's parameter."""
        held = _operation(graph, self.operation).original(self.index)
        return graph.parameters[self.value(graph)] if held is None else held

    def __str__(self) -> str:
        return f"{self.side}{self.index}"


def _operation(graph: Graph, name: str) -> QuantableOperation:
    op = graph.operation_by_name[name]
    assert isinstance(op, QuantableOperation)
    return op


def is_linear(config: TensorQuantizationConfig) -> bool:
    """Whether a slot has a fixed grid of equal steps."""
    return not (config.policy.is_floating or config.policy.dynamic)


def refined(
    config: TensorQuantizationConfig, row: QuantizationParameters, bits: int
) -> tuple[TensorQuantizationConfig, QuantizationParameters]:
    """Return the same range with steps of ``2**-bits``; as many as the widest config has room for.

    Args:
        config: A linear one.
        row: Its row.
        bits: How many bits more.
    """
    more = min(bits, _MOST_BITS - config.bits)
    factor = 1 << more
    finer = replace(
        config, bits=config.bits + more, quant_min=config.quant_min * factor,
        quant_max=config.quant_max * factor, row=f"{row.id}.refined",
    )  # fmt: skip
    scale, zero = row.scale_array / np.float32(factor), row.zero_point_array * factor
    return finer, replace(row, id=finer.row).filled(scale, zero, f"{more} bits more")


def ends(
    config: TensorQuantizationConfig, row: QuantizationParameters, shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the outermost numbers of a grid, so that they broadcast along a tensor of a shape."""
    scale = along(row.scale_array.astype(np.float64), shape, config)
    zero = along(row.zero_point_array, shape, config)
    return (config.quant_min - zero) * scale, (config.quant_max - zero) * scale


def beyond(
    values: Array, config: TensorQuantizationConfig, row: QuantizationParameters
) -> npt.NDArray[np.bool_]:
    """Return which elements a slot's grid clips: those further out than a fine grid would see.

    The end of a grid is a product of float32 numbers: the element that the scale was made from may
    lie a rounding error outside.
    """
    low, high = ends(config, row, values.shape)
    slack = (high - low) / (config.quant_max - config.quant_min) * 2.0**-FINE_BITS
    found: npt.NDArray[np.bool_] = np.less(values, low - slack) | np.greater(values, high + slack)
    return found


def with_refined(graph: Graph, place: Place, bits: int) -> Graph:
    """Return a graph in which one slot has finer steps; a parameter is its original.

    Only the slot's own operation may be run: a row that others share is theirs.
    """
    op, config = _operation(graph, place.operation), place.config(graph)
    finer, row = refined(config, graph.rows[config.row], bits)
    parameters = graph.parameters
    if place.is_parameter(graph):
        state = State.PASSIVE if config.state is State.PASSIVE_BAKED else config.state
        state = State.ACTIVATED if config.state is State.BAKED else state
        finer = replace(finer, state=state)
        op = replace(op, baked=tuple(b for b in op.baked if b.slot != place.index))
        parameters = {**parameters, place.value(graph): place.original(graph)}
    changed = graph.with_operation(op.with_slot(place.side, place.index, finer))
    return replace(changed, rows={**graph.rows, row.id: row}, parameters=parameters)
