"""Train where activations and weights are clipped, in octaves, and leave the weights alone.

Before (target onnxruntime, weights=false, the second channel of x is a sixth of the first):
    c = Conv(x, v, b)
    c.in0 activated own c.in0 = 0.5
After (x was observed up to 127.5, but only reaches 120: finer steps tell more):
    c.in0 activated own c.in0 = 0.470235
    c.in1 activated own c.in1 = 0.25 0.125

A threshold is the largest number that is not clipped; the logarithm of it is trained, which is that
of the scale and a constant. Where the policy demands a power of two, the scale is the next one that
is not below (``2**ceil``, with a straight-through gradient), and the fit begins in the middle of
the thresholds that lead to the present scale. A larger threshold makes every step coarser, a
smaller one clips more: the gradient weighs one against the other by the error of the block's
outputs.

Preconditions:
    1. A row's scales change only where no other block quantizes with it, and no row of a bias is
       derived from it yet.
    2. The slots have linear and static policies; the weight's row is its own.
    3. Calibration samples are there.

Numerics: lossy; accepted block by block where the output error falls on held-out samples.
Operations without gradient, and losses or gradients that are not finite, leave a block as it is,
and the decision names the operation.
See: Jain et al., Trained Quantization Thresholds for Accurate and Efficient Fixed-Point Inference
of Deep Neural Networks, 2020; `block_fitting` for walk, decisions and resuming.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from quantable.ir import Graph, Level
from quantable.passes.base import Pass, PassContext
from quantable.passes.laboratory import FitTask
from quantable.passes.tune.block_fitting import check_rates, check_schedule, with_fitted_blocks
from quantable.passes.tune.blocks import blocks, borders
from quantable.passes.tune.trainable import trainable_scales, trainable_weights


@dataclass(frozen=True)
class TrainThresholds(Pass):
    """See the module's docstring.

    Attributes:
        block_size: Layers that are fitted together at most, unless the network is never narrow.
        steps, batch: How many steps of how many samples.
        weights: Train the thresholds of weights too.
        rate: Learning rate of the logarithm.
        seed: Of the batches.
    """

    name: ClassVar[str] = "train-thresholds"
    summary: ClassVar[str] = "train the ranges of activations and weights by gradients"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.QUANTABLE})
    block_size: int = 4
    steps: int = 100
    batch: int = 32
    weights: bool = True
    rate: float = 0.01
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
        scales = trainable_scales(graph, part, weights=self.weights, inputs=True)
        wanted = trainable_weights(graph, part)
        weights = {
            (op.name, slot): "fixed"
            for op in part.quantable_operations
            for slot, config in enumerate(op.config.inputs)
            if (op.name, slot) in wanted and config.row in scales
        }
        return FitTask(
            part, {}, {}, (), weights, scales, steps=self.steps, batch=self.batch,
            scale_rate=self.rate, seed=self.seed,
        )  # fmt: skip
