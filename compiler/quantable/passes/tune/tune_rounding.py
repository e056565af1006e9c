"""Move the integers of weights by one step at most, where the outputs gain.

Before (target onnxruntime, rate=0.05, the second channel of x is a sixth of the first):
    c = Conv(x, v, b)
    c.in1 activated own c.in1 = 0.25 0.125
    v = 31.75 -2.1 1.03 -15.88
After (the nearest of -2.1 would be -2, a step above):
    c.in1 activated own c.in1 = 0.25 0.125
    v = 31.75 -2.25 1 -15.88

Scales and biases stay. Each weight has an offset of -1, 0 or +1 steps from its present integer,
trained with a straight-through gradient by the squared error of the block's outputs, on the inputs
that the quantized network gives to the block. It begins at what rounding took away (at 0 where
another pass put the contents on the grid).

Preconditions:
    1. The weight has its row, which no other slot shares, of a linear and static policy.
    2. Calibration samples are there.

Numerics: lossy; accepted block by block where the hardened output error falls on held-out samples;
a block that is refused keeps every integer. Operations without gradient, and losses or gradients
that are not finite, leave a block as it is, and the decision names the operation.
See: PPQ's RoundTuningPass; `reconstruct-blocks`, which decides between two integers;
`block_fitting` for walk, decisions and resuming.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from quantable.ir import Graph, Level
from quantable.passes.base import Pass, PassContext
from quantable.passes.laboratory import FitTask
from quantable.passes.tune.block_fitting import check_rates, check_schedule, with_fitted_blocks
from quantable.passes.tune.blocks import blocks, borders
from quantable.passes.tune.trainable import trainable_weights


@dataclass(frozen=True)
class TuneRounding(Pass):
    """See the module's docstring.

    Attributes:
        block_size: Layers that are fitted together at most, unless the network is never narrow.
        steps, batch: How many steps of how many samples.
        rate: Learning rate, in quantization steps.
        seed: Of the batches.
    """

    name: ClassVar[str] = "tune-rounding"
    summary: ClassVar[str] = "move integer weights by at most one step"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.QUANTABLE})
    block_size: int = 4
    steps: int = 100
    batch: int = 32
    rate: float = 0.02
    seed: int = 0

    def check(self) -> None:
        check_schedule(self.block_size, self.steps, self.batch, self.seed)
        check_rates({"rate": self.rate})

    def data_digest(self, context: PassContext) -> str:
        return context.laboratory.digest if context.laboratory else ""

    def run(self, graph: Graph, context: PassContext) -> Graph:
        found = blocks(graph, self.block_size)
        inside = borders(graph, self.block_size)
        return with_fitted_blocks(graph, context, self, found, self._task, inside)

    def _task(self, graph: Graph, part: Graph) -> FitTask:
        return FitTask(
            part, {}, {}, (), dict.fromkeys(trainable_weights(graph, part), "offset"),
            steps=self.steps, batch=self.batch, weight_rate=self.rate, seed=self.seed,
        )  # fmt: skip
