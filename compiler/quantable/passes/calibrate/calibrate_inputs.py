"""Choose the ranges of what comes from outside by the very numbers that come.

Before (target c-portable, every x is an odd multiple of a quarter):
    c = Conv(x, w, b)
    c.in0 activated own c.in0 = 0.5
After (in steps of a half all of them lay in the middle between two steps):
    c = Conv(x, w, b)
    c.in0 activated own c.in0 = 0.5015

Images and samples of sound are digitized: they take a few hundred values, evenly spaced. A
histogram does not show it, and a range chosen by one may put every value half a step away from
what is nearest. Pixels brought to [-1, 1] are the common case: 256 values in 256 steps of just that
range, none of them on a step, since zero is. All are off by half a step then, three times the error
that a slightly wider range has. So wider ranges are tried on the distinct values.

Preconditions:
    1. The values lie before the first layer: nothing but sums, products and moves of data make them
       of the network's inputs.
    2. They are at most 4,096 different ones; what takes any value has no such trouble.
    3. The row is of a linear, static policy with one scale.

Numerics: lossy. A row is changed where the squared error of its values falls by a tenth, on
held-out samples too; all changes together are taken back where the error of the network's outputs
does not fall there.
See: Gray and Neuhoff, Quantization, 1998, section II, on signals that are not smooth at the scale
of a step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from quantable.ir import (
    Decision,
    Graph,
    Level,
    OptionError,
    QuantizationParameters,
    TensorQuantizationConfig,
)
from quantable.ir.numerics import rounded, scale_from_range
from quantable.passes.base import Pass, PassContext
from quantable.passes.calibrate.blocks import consumer_blocks
from quantable.passes.laboratory import (
    Laboratory,
    fitting_samples,
    held_out_samples,
    needed_laboratory,
)
from quantable.passes.network_noise import decided

MOST_VALUES = 4096
"""So many different values a digitized signal has at most: 12 bits."""
LEAST_GAIN = 0.1
"""By how much the error has to fall."""
MEASURE = "squared error of the quantized values on held-out samples, divided by that of zeros"
_SAMPLES = 16
"""Samples that are looked at: every one holds thousands of elements."""
_BRINGING = frozenset({
    "Add", "Cast", "Concat", "DepthToSpace", "Div", "Flatten", "Gather", "Identity", "Mul", "Pad",
    "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Sub", "Transpose", "Unsqueeze",
})  # fmt: skip
"""What brings an input into the form that the first layer reads."""


@dataclass(frozen=True)
class CalibrateInputs(Pass):
    """See the module's docstring.

    Attributes:
        widest: How many times as wide a range may become.
        tried: How many ranges are tried up to there.
    """

    name: ClassVar[str] = "calibrate-inputs"
    summary: ClassVar[str] = "choose the ranges of digitized inputs by their distinct values"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.QUANTABLE})
    widest: float = 1.02
    tried: int = 40

    def check(self) -> None:
        if not 1.0 < self.widest <= 2.0:
            raise OptionError(f"widest: expected more than 1, at most 2, found {self.widest:g}")
        if self.tried < 1:
            raise OptionError(f"tried: expected at least 1, found {self.tried}")

    def data_digest(self, context: PassContext) -> str:
        return context.laboratory.digest if context.laboratory else ""

    def run(self, graph: Graph, context: PassContext) -> Graph:
        laboratory = needed_laboratory(context, self.name)
        fitting, held_out = fitting_samples(laboratory.count), held_out_samples(laboratory.count)
        changed = graph
        for slot in _outer_slots(graph):
            fit, judge = (
                Levels.of(graph, laboratory, slot.value, samples) for samples in (fitting, held_out)
            )
            if fit is None or judge is None:
                text = (
                    f"'{slot.value}' takes one value, or more than {MOST_VALUES:,} different ones"
                )
                context.remarks.append((self.name, slot.value, text))
                continue
            row = self._chosen(slot, fit)
            if row is None:
                continue
            decision = _judged(slot, row, judge, context)
            context.decisions.append(decision)
            if decision.is_accepted:
                changed = changed.with_rows([row])
        if changed is graph:
            return graph
        whole = decided(graph, changed, laboratory, held_out, "all ranges that were changed")
        context.decisions.append(whole)
        return changed if whole.is_accepted else graph

    def _chosen(self, slot: _OuterSlot, levels: Levels) -> QuantizationParameters | None:
        """Return the row with the range that has the least error, None for the present one."""
        row, config = slot.row, slot.config
        zero, scale = int(row.zero_point[0]), float(row.scale[0])
        low, high = (config.quant_min - zero) * scale, (config.quant_max - zero) * scale
        best, least = None, levels.error(config, row) * (1.0 - LEAST_GAIN)
        for share in np.linspace(1.0, self.widest, self.tried + 1)[1:]:
            ends = np.asarray([low * share]), np.asarray([high * share])
            text = f"{self.name}: {share - 1.0:.2%} wider than {row.provenance}"
            wider = row.filled(*scale_from_range(*ends, config), text)
            error = levels.error(config, wider)
            if error < least:
                best, least = wider, error
        return best


@dataclass(frozen=True)
class _OuterSlot:
    """A slot whose values lie before the first layer."""

    operation: str
    value: str
    config: TensorQuantizationConfig
    row: QuantizationParameters


@dataclass(frozen=True, eq=False)
class Levels:
    """The different numbers that a value takes.

    Attributes:
        values: float32, ascending.
        counts: How often each of them was seen.
    """

    values: npt.NDArray[np.float32]
    counts: npt.NDArray[np.int64]

    @staticmethod
    def of(graph: Graph, laboratory: Laboratory, value: str, samples: list[int]) -> Levels | None:
        """Return the levels of a value in the float network, None for one or for too many."""
        seen: dict[float, int] = {}
        chosen = dict.fromkeys(samples[i * len(samples) // _SAMPLES] for i in range(_SAMPLES))
        for sample in chosen:
            found = laboratory.values(graph.dequantized(), [value], [sample])[value]
            values, counts = np.unique(found.astype(np.float32, copy=False), return_counts=True)
            if values.size > MOST_VALUES:
                return None
            for number, count in zip(values.tolist(), counts.tolist(), strict=True):
                seen[number] = seen.get(number, 0) + count
        if not 1 < len(seen) <= MOST_VALUES:
            return None
        held = sorted(seen.items())
        return Levels(
            np.array([number for number, _ in held], np.float32),
            np.array([count for _, count in held], np.int64),
        )

    def error(self, config: TensorQuantizationConfig, row: QuantizationParameters) -> float:
        """Return the squared error of quantization, divided by that of zeros."""
        exact = self.values.astype(np.float64)
        error = rounded(self.values, config, row).astype(np.float64) - exact
        return float(np.square(error) @ self.counts / (np.square(exact) @ self.counts))


def _judged(
    slot: _OuterSlot, row: QuantizationParameters, levels: Levels, context: PassContext
) -> Decision:
    before, after = (levels.error(slot.config, held) for held in (slot.row, row))
    is_better = after < before * (1.0 - LEAST_GAIN)
    reason = "" if is_better else f"the error does not fall by {LEAST_GAIN:.0%}"
    is_accepted = is_better and context.rewrites.admit(slot.operation)
    tried = f"'{slot.value}': step {row.scale[0]:.6g} in place of {slot.row.scale[0]:.6g}"
    return Decision((slot.operation,), tried, MEASURE, before, after, is_accepted, reason)


def _outer_slots(graph: Graph) -> Iterator[_OuterSlot]:
    """Yield the slots that own a calibrated row of a value before the first layer."""
    outer = set(graph.inputs)
    for op in graph.operations:
        held = [name for name in op.inputs if name and name not in graph.parameters]
        if held and op.kind in _BRINGING and outer.issuperset(held):
            outer.update(op.outputs)
    operations = {op.name: op for op in graph.quantable_operations}
    for block in consumer_blocks(graph):
        op = operations[block.owner.operation]
        side, index = block.owner.side, block.owner.index
        value = (op.inputs if side == "in" else op.outputs)[index]
        config = (op.config.inputs if side == "in" else op.config.outputs)[index]
        row = graph.rows[block.row]
        if value in outer and row.scale_array.size == 1:
            yield _OuterSlot(op.name, value, config, row)
