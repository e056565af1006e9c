"""Keep the order of the largest outputs.

Before (target c-portable; the two largest of four numbers are 0.1 apart, the steps 0.5):
    c = Conv(x, w, b)
    y = Conv(c, w2, b2)
    y.out0 activated own y.out0
After (where held-out samples show that the order of more of them is kept):
    y.out0 activated own y.out0

A range with the least squared error may put the two largest outputs on one integer: the network
then has no answer. Here the range of an output is chosen by how many samples keep the order of
their two largest numbers. Behind a Softmax or another operation that keeps the order, the tensor
before it is looked at as well.

Preconditions:
    1. Calibration samples are there.
    2. The row of the output is calibrated, per tensor and linear, held by the slot that makes the
       tensor, not fixed and not baked. A remark says which output has none.
    3. There are at least two numbers along the axis.

Numerics: lossy. A row is changed where, on held-out samples, more of the quantized network's
outputs have their largest number where the float network has it, alone.
See: PPQ's IsotoneCalibrationPass and isotone observer; `isotone`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from quantable.ir import (
    DataError,
    Decision,
    Graph,
    Level,
    OptionError,
    QuantableOperation,
    QuantizationParameters,
    Relation,
    State,
    TensorQuantizationConfig,
    UnknownNameError,
)
from quantable.passes.base import Pass, PassContext
from quantable.passes.calibrate.isotone import isotone_row
from quantable.passes.laboratory import (
    Laboratory,
    fitting_samples,
    held_out_samples,
    needed_laboratory,
)

MEASURE = "share of held-out answers that are lost"
ORDERED = ("Softmax", "LogSoftmax", "Sigmoid", "Tanh", "Reshape", "Flatten", "Squeeze", "Unsqueeze")
"""Kinds whose output is ordered as their input is, along the axis of a classifier."""
_FREE = (State.ACTIVATED, State.OVERLAPPED)


@dataclass(frozen=True)
class _Site:
    """Where a row can be chosen: the value, the config of the slot that makes it, and the row."""

    output: str
    value: str
    operation: str
    config: TensorQuantizationConfig
    row: QuantizationParameters


@dataclass(frozen=True)
class IsotoneCalibration(Pass):
    """See the module's docstring.

    Attributes:
        axis: Along which the numbers of an output compete; the first is that of the batch.
        outputs: Names of outputs of the graph; all where none is given.
    """

    name: ClassVar[str] = "isotone-calibration"
    summary: ClassVar[str] = "keep the order of the largest outputs"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.QUANTABLE})
    axis: int = -1
    outputs: tuple[str, ...] = ()

    def data_digest(self, context: PassContext) -> str:
        return context.laboratory.digest if context.laboratory else ""

    def run(self, graph: Graph, context: PassContext) -> Graph:
        for name in self.outputs:
            if name not in graph.outputs:
                raise UnknownNameError("output", name, graph.outputs)
        laboratory = needed_laboratory(context, self.name)
        for output in self.outputs or graph.outputs:
            sites = list(_sites(graph, output))
            if not sites:
                reason = "no calibrated row of its own: it is float, fixed, or baked"
                context.remarks.append((self.name, f"output '{output}'", reason))
            for site in sites:
                graph = self._tried(graph, site, laboratory, context)
        return graph

    def _tried(
        self, graph: Graph, site: _Site, laboratory: Laboratory, context: PassContext
    ) -> Graph:
        """Return the graph with another row at a site, if held-out samples keep more answers."""
        plain = graph.dequantized()
        fitting = fitting_samples(laboratory.count)
        values = laboratory.values(plain, [site.value], fitting)[site.value]
        self._check_values(site, values)
        text = f"{self.name}: order of the two largest of {len(fitting)} samples"
        row = isotone_row(values, self.axis, site.config, site.row, text)
        if row is site.row:
            return graph
        held_out = held_out_samples(laboratory.count)
        expected = laboratory.values(plain, [site.output], held_out)[site.output]
        tried = replace(graph, rows={**graph.rows, row.id: row})
        before, after = (
            self._lost(laboratory.values(g, [site.output], held_out)[site.output], expected)
            for g in (graph, tried)
        )
        is_better = after < before and context.rewrites.admit(site.operation)
        context.decisions.append(Decision(
            (site.operation,),
            f"output '{site.output}': scale {row.scale[0]:.6g} in place of {site.row.scale[0]:.6g}",
            MEASURE, before, after, is_better,
            "" if is_better else "held-out samples do not keep more answers",
        ))  # fmt: skip
        return tried if is_better else graph

    def _check_values(self, site: _Site, values: npt.NDArray[np.generic]) -> None:
        where = f"value '{site.value}'"
        axis = self.axis + 1 if self.axis >= 0 else self.axis  # the first axis counts samples
        if not -values.ndim < axis < values.ndim or values.shape[axis] < 2:
            raise OptionError(
                f"axis {self.axis}: expected an axis with at least two numbers, found shape "
                f"{list(values.shape[1:])}", where=where,
            )  # fmt: skip
        if not np.isfinite(values).all():
            raise DataError(
                "the float network computes numbers that are not finite", where=where,
                help="look at the calibration samples: quantable stats shows their ranges",
            )  # fmt: skip

    def _lost(self, found: npt.NDArray[np.generic], expected: npt.NDArray[np.generic]) -> float:
        """Return the share of answers that are another one, or that a second number shares."""
        axis = self.axis + 1 if self.axis >= 0 else self.axis
        mine, its = (np.moveaxis(a, axis, -1).reshape(-1, a.shape[axis]) for a in (found, expected))
        answer = its.argmax(axis=1)
        largest = mine.max(axis=1)
        alone = (mine == largest[:, None]).sum(axis=1) == 1
        kept = alone & (mine.argmax(axis=1) == answer)
        return float(1.0 - kept.mean())


def _sites(graph: Graph, output: str) -> Iterator[_Site]:
    """Yield the rows behind an output, from the last one back, through what keeps the order."""
    value = output
    while value in graph.producers:
        op = graph.producers[value]
        if isinstance(op, QuantableOperation):
            config = op.config.outputs[op.outputs.index(value)]
            owner = _owner(graph, config.row)
            if owner is not None and config.suspended is None and config.state in _FREE:
                yield _Site(output, value, op.name, owner, graph.rows[config.row])
        if op.kind not in ORDERED:
            return
        value = op.inputs[0]


def _owner(graph: Graph, row: str) -> TensorQuantizationConfig | None:
    """Return the config that owns a row, if the row may be chosen."""
    for op in graph.quantable_operations:
        for _, _, config in op.config.slots():
            if config.row == row and config.relation is Relation.OWN:
                policy = config.policy
                plain = not (policy.is_per_channel or policy.is_floating or policy.dynamic)
                is_free = config.state is State.ACTIVATED and config.observer != "fixed"
                return config if plain and is_free else None
    return None
