"""What each tensor holds, in the float network and in the quantized one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from quantable.driver.analysis.grids import Place, beyond, is_linear
from quantable.driver.analysis.groups import is_executed
from quantable.driver.analysis.measures import Totals
from quantable.driver.analysis.moments import Moments
from quantable.driver.analysis.subject import Pair, Subject
from quantable.ir import Graph, QuantableOperation
from quantable.ir.numerics import dequantize, quantize, rounded

Array = npt.NDArray[np.generic]
_MOST_LEVELS = 1 << 16
"""Grids of more levels are not counted."""


@dataclass
class Tensor:
    """One tensor.

    Attributes:
        name: Of the value.
        place: The slot that quantizes it; None where none does.
        is_parameter: Whether it is constant.
        totals: Histograms, and how far the quantized network's is from the float network's.
        real, quantized: Moments in both networks.
        clipped: Elements of the float network beyond the ends of the grid.
        levels: How often each integer occurs in the quantized network, None where it is not
            quantized, or the grid is not linear or too large.
    """

    name: str
    place: Place | None
    is_parameter: bool
    totals: Totals
    real: Moments = field(default_factory=Moments)
    quantized: Moments = field(default_factory=Moments)
    clipped: int = 0
    levels: npt.NDArray[np.int64] | None = None

    def add(self, graph: Graph, real: Array, quantized: Array) -> None:
        """Add one sample's tensor in both networks."""
        self.totals.add(real, quantized)
        self.real = self.real.merged(Moments.of(real))
        self.quantized = self.quantized.merged(Moments.of(quantized))
        if self.place is None or self.levels is None:
            return
        config = self.place.config(graph)
        row = graph.rows[config.row]
        self.clipped += int(np.count_nonzero(beyond(real, config, row)))
        steps = quantize(quantized.astype(np.float32), config, row) - config.quant_min
        self.levels += np.bincount(steps.reshape(-1), minlength=len(self.levels))

    def facts(self, graph: Graph) -> dict[str, object]:
        """Return the tensor as JSON values."""
        found: dict[str, object] = {
            "tensor": self.name, "is_parameter": self.is_parameter,
            "operation": self.place.operation if self.place else "",
            "slot": str(self.place) if self.place else "",
            "float": self.real.facts(), "quantized": self.quantized.facts(),
            **_occupancy(self), **self.totals.facts(),
            "histogram": {
                "low": self.totals.low, "high": self.totals.high,
                "float": self.totals.before.tolist(), "quantized": self.totals.after.tolist(),
            },
        }  # fmt: skip
        if self.place is not None:
            found["bits"] = self.place.config(graph).bits
        return found


def _occupancy(tensor: Tensor) -> dict[str, object]:
    """Return how well a grid is used, as JSON values."""
    keys = ("share_clipped", "levels", "levels_used", "effective_bits")
    if tensor.levels is None or not tensor.real.count:
        return dict.fromkeys(keys)
    used = tensor.levels[tensor.levels > 0].astype(np.float64)
    parts = used / used.sum()
    entropy = max(0.0, -float((parts * np.log2(parts)).sum()))
    share = tensor.clipped / tensor.real.count
    return dict(zip(keys, (share, len(tensor.levels), len(used), entropy), strict=True))


class Statistics:
    """Collects statistics.

    Attributes:
        tensors: Activations in topological order, then parameters by operation.
    """

    def __init__(self, subject: Subject) -> None:
        graph = self._graph = subject.graph
        makers = quantizers(graph)
        self._activations = [
            _tensor(graph, name, makers.get(name), subject.totals(name))
            for name in subject.ranges
            if graph.values[name].is_real
        ]
        self.tensors = [*self._activations, *_parameters(graph)]

    def add(self, pair: Pair) -> None:
        """Add one sample."""
        for tensor in self._activations:
            tensor.add(self._graph, pair.real[tensor.name], pair.quantized[tensor.name])

    def facts(self) -> list[dict[str, object]]:
        """Return the tensors as JSON values."""
        return [tensor.facts(self._graph) for tensor in self.tensors]


def _tensor(graph: Graph, name: str, place: Place | None, totals: Totals) -> Tensor:
    found = Tensor(name, place, graph.is_parameter(name), totals)
    config = None if place is None else place.config(graph)
    if config is not None and is_linear(config):
        count = config.quant_max - config.quant_min + 1
        found.levels = np.zeros(count, np.int64) if count <= _MOST_LEVELS else None
    return found


def quantizers(graph: Graph) -> dict[str, Place]:
    """Return, by value, the slot of its maker that quantizes it, else of its first reader."""
    found: dict[str, Place] = {}
    for op in graph.quantable_operations:
        for side, index, config in op.config.slots():
            place = Place(op.name, side, index)
            name = place.value(graph)
            if name and name not in graph.parameters and is_executed(config):
                found.setdefault(name, place)
    return found


def _parameters(graph: Graph) -> list[Tensor]:
    found = []
    for op in graph.quantable_operations:
        for slot, original in op.originals:
            place = Place(op.name, "in", slot)
            quantized = _quantized(graph, op, slot)
            if quantized is not None:
                real = graph.store.get(original)
                low, high = (float(f(real)) for f in (np.min, np.max)) if real.size else (0.0, 0.0)
                tensor = _tensor(graph, op.inputs[slot], place, Totals(low, high))
                tensor.add(graph, real, quantized)
                found.append(tensor)
    return found


def _quantized(graph: Graph, op: QuantableOperation, slot: int) -> Array | None:
    """Return a parameter as the quantized network takes it; None where it is not quantized."""
    config = op.config.inputs[slot]
    if not is_executed(config) or config.policy.dynamic:
        return None
    baked, row = op.baked_parameter(slot), graph.rows[config.row]
    if config.state.is_baked and baked is not None:
        return dequantize(graph.store.get(baked.content), config, row)
    return rounded(graph.array(op.inputs[slot]).astype(np.float32), config, row)
