"""Choose the ranges of activations by what they do to the operations that read them.

Before (target c-portable):
    c = Conv(x, w, b)
    y = Conv(c, w2, b2)
    c.in0 activated own c.in0
    c.out0 activated own c.out0
    y.in0 overlapped overlapped c.out0
After (each row that was changed names the candidate that it was given):
    c.in0 activated own c.in0
    c.out0 activated own c.out0
    y.in0 overlapped overlapped c.out0

`calibrate` chooses a range by the error of the tensor itself, as if every element mattered as much
as every other. Here a handful of candidates (least squared error, that range narrowed and widened,
extrema, percentiles, KL) is tried, and the one with the least error at the outputs of the
operations that read the tensor wins, their parameters float so that nothing but this row shows.
Their other inputs are those of the quantized network as far as it is tuned, and what they should
give is what the float network gives.

Preconditions:
    1. Calibration samples are there, and the profile that `calibrate` was given.
    2. Rows of biases are not derived yet: their scales follow from the inputs'. A range with which
       a bias would overflow is no candidate.

Numerics: lossy. A row is changed where the error of its readers' outputs falls on held-out samples;
all changes together are taken back where the error of the network's outputs (before a last Softmax)
does not fall by a twentieth there.
See: `blocks`, `candidates`; Nagel et al., A White Paper on Neural Network Quantization, 2021,
section 3.1, on ranges by the error of what follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from quantable.ir import (
    DataError,
    Decision,
    Graph,
    Level,
    OptionError,
    Profile,
    QuantizationParameters,
    Relation,
    State,
    TensorQuantizationConfig,
)
from quantable.ir.numerics import scale_from_range
from quantable.passes.base import Pass, PassContext
from quantable.passes.calibrate.blocks import ConsumerBlock, QuantizedWalk, Values, consumer_blocks
from quantable.passes.calibrate.calibrate import profile_digest
from quantable.passes.calibrate.candidates import candidate_ranges
from quantable.passes.laboratory import (
    Laboratory,
    fitting_samples,
    held_out_samples,
    needed_laboratory,
)
from quantable.passes.network_noise import WHOLE, judged_values

LEAST_GAIN = 0.05
"""By how much the error of the network has to fall: less is what other samples change it by."""
LOCAL = "noise of the outputs of the tensor's readers on held-out samples"


@dataclass(frozen=True)
class CalibrateSensitive(Pass):
    """See the module's docstring.

    Attributes:
        samples: Most samples to choose on, and most to judge on.
    """

    name: ClassVar[str] = "calibrate-sensitive"
    summary: ClassVar[str] = "choose the ranges of activations by the error at their readers"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.QUANTABLE})
    samples: int = 64

    def check(self) -> None:
        if self.samples < 1:
            raise OptionError(f"samples: expected at least 1, found {self.samples}")

    def data_digest(self, context: PassContext) -> str:
        parts = [context.laboratory.digest] if context.laboratory else []
        parts += [profile_digest(context.profile)] if context.profile else []
        return " ".join(parts)

    def run(self, graph: Graph, context: PassContext) -> Graph:
        laboratory = needed_laboratory(context, self.name)
        if context.profile is None:
            raise DataError(
                f"pass '{self.name}' takes candidates from a profile, found none",
                help="give the profile that the graph was calibrated with",
            )
        search = _Search(graph, laboratory, context.profile, self.samples)
        for block in search.blocks:
            decision = search.improve(block, context, self.name)
            if decision is not None:
                context.decisions.append(decision)
        if not any(decision.is_accepted for decision in context.decisions):
            return graph
        whole = search.whole()
        context.decisions.append(whole)
        return search.walk.graph if whole.is_accepted else graph


class _Search:
    def __init__(self, graph: Graph, laboratory: Laboratory, profile: Profile, limit: int) -> None:
        self.graph, self.laboratory, self.profile = graph, laboratory, profile
        fitting = fitting_samples(laboratory.count)[:limit]
        self.held_out = held_out_samples(laboratory.count)[:limit]
        # Either kind is one piece: a slice of a tensor on disk is no copy in memory.
        self.samples = [*fitting, *self.held_out]
        self.fit = slice(0, len(fitting))
        self.judge = slice(len(fitting), None)
        self.blocks = [
            block for block in consumer_blocks(graph)
            if _value(graph, block) in profile.statistics
        ]  # fmt: skip
        names = dict.fromkeys(n for b in self.blocks for n in (*b.outputs, *b.part(graph).inputs))
        self.ends = judged_values(graph)
        names.update(dict.fromkeys(self.ends))
        self.reals: Values = laboratory.values(graph.dequantized(), list(names), self.samples)
        self.walk = QuantizedWalk(graph, laboratory, self.samples)

    def improve(self, block: ConsumerBlock, context: PassContext, name: str) -> Decision | None:
        """Give a row its best range, if that lowers the error on held-out samples."""
        held = self.walk.before(block.owner.operation)
        graph = self.walk.graph
        op = next(op for op in graph.quantable_operations if op.name == block.owner.operation)
        configs = op.config.inputs if block.owner.side == "in" else op.config.outputs
        row, config = graph.rows[block.row], configs[block.owner.index]
        part = block.part(graph)
        feeds = {n: held[n] if n in held else self.reals[n] for n in part.inputs}
        found = [(self._noise(block, part, feeds, self.fit), "", row)]
        for label, candidate in self._candidates(graph, block, row, config, name):
            tried = _with_row(part, candidate)
            found.append((self._noise(block, tried, feeds, self.fit), label, candidate))
        best, label, chosen = min(found, key=lambda item: item[0])
        if not best < found[0][0]:
            return None
        before = self._noise(block, part, feeds, self.judge)
        after = self._noise(block, _with_row(part, chosen), feeds, self.judge)
        is_better = after < before and context.rewrites.admit(op.name)
        if is_better:
            self.walk.put(_with_row(graph, chosen))
        text = f"{block.owner.side}{block.owner.index}: {label} of {len(found)} ranges"
        reason = "" if is_better else "the error does not fall on held-out samples"
        return Decision((op.name,), text, LOCAL, before, after, is_better, reason)

    def whole(self) -> Decision:
        """Compare the networks before and after."""
        targets = {name: self.reals[name][self.judge] for name in self.ends}
        before, after = (
            float(np.mean(list(self.laboratory.noise(g, targets, self.held_out).values())))
            for g in (self.graph, self.walk.graph)
        )
        changed = dict.fromkeys(
            block.owner.operation for block in self.blocks
            if self.walk.graph.rows[block.row] != self.graph.rows[block.row]
        )  # fmt: skip
        is_better = after < before * (1 - LEAST_GAIN)
        reason = f"the network's error does not fall by {LEAST_GAIN:.0%}: all is taken back"
        reason = "" if is_better else reason
        text = f"all ranges that were changed: {len(changed)} operations"
        return Decision(tuple(changed), text, WHOLE, before, after, is_better, reason)

    def _noise(self, block: ConsumerBlock, part: Graph, feeds: Values, which: slice) -> float:
        found = self.laboratory.noise(
            part, {name: self.reals[name][which] for name in block.outputs}, self.samples[which],
            {name: array[which] for name, array in feeds.items()},
        )  # fmt: skip
        return float(np.mean(list(found.values())))

    def _candidates(
        self,
        graph: Graph,
        block: ConsumerBlock,
        row: QuantizationParameters,
        config: TensorQuantizationConfig,
        name: str,
    ) -> Iterable[tuple[str, QuantizationParameters]]:
        statistics = self.profile.statistics[_value(graph, block)]
        if not statistics.count:
            return
        for label, low, high in candidate_ranges(statistics, config):
            ends = np.asarray([low]), np.asarray([high])
            scale, zero = scale_from_range(*ends, config)
            text = f"{name}: {label} [{low:.6g}, {high:.6g}]"
            candidate = row.filled(scale, zero, text)
            is_other = (candidate.scale, candidate.zero_point) != (row.scale, row.zero_point)
            if is_other and _biases_fit(graph, block.row, float(scale[0])):
                yield label, candidate


def _value(graph: Graph, block: ConsumerBlock) -> str:
    op = graph.operation_by_name[block.owner.operation]
    return (op.inputs if block.owner.side == "in" else op.outputs)[block.owner.index]


def _with_row(graph: Graph, row: QuantizationParameters) -> Graph:
    rows: Mapping[str, QuantizationParameters] = {**graph.rows, row.id: row}
    return replace(graph, rows=rows)


def _biases_fit(graph: Graph, row: str, scale: float) -> bool:
    """Whether every bias in steps of this scale keeps half of its range for the products."""
    for op in graph.quantable_operations:
        for index, config in enumerate(op.config.inputs):
            if config.relation is not Relation.DERIVED:
                continue
            sources = graph.rows[config.row].derived_from
            if row not in sources or config.state is not State.PASSIVE_INIT:
                continue
            weight = graph.rows[next((s for s in sources if s != row), row)].scale_array
            bias = np.abs(graph.array(op.inputs[index]).astype(np.float64)).reshape(-1)
            steps = bias / (weight.astype(np.float64) * scale)
            if steps.size and steps.max() > config.quant_max // 2:
                return False
    return True
