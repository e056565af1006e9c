"""Learn, block by block, to which of its two neighbours each weight is rounded.

Before (target onnxruntime, scales=false, the second channel of x is a sixth of the first):
    c = Conv(x, v, b)
    c.in1 activated own c.in1 = 0.25 0.125
    v = 31.75 -2.1 1.03 -15.88
After (1.03 is rounded down, and -15.875, which is a whole step, goes up to make up for it):
    c.in1 activated own c.in1 = 0.25 0.125
    v = 31.75 -2 1 -15.75

Each weight is ``floor(w / s) + h(v)`` steps, h a sigmoid that is stretched and clipped so that it
reaches 0 and 1. Gradients of the squared error of the block's outputs train v, on the inputs that
the quantized network gives to the block and the outputs of the float one. A regulariser
``1 - |2 h - 1|**beta`` drives each h to 0 or 1; beta falls from 20 to 2 after the first fifth of
the steps. As decay is in AdamW, it is no part of the loss: its push, which grows with the steps,
is measured in those of the optimizer, so that what is learned hardens on every network.

With `drop`, elements of activations stay float at random, so that the flat minimum that is found
serves other samples too (QDrop). With `scales`, the scales of activations are learned beside.

Preconditions:
    1. The weight has its row, which no other slot shares, of a linear and static policy.
    2. A row's scales change only where no other block quantizes with it.
    3. Calibration samples are there.

Numerics: lossy; accepted block by block where the hardened output error falls on held-out samples.
Operations without gradient, and losses or gradients that are not finite, leave a block as it is,
and the decision names the operation.
See: Nagel et al., Up or Down? Adaptive Rounding for Post-Training Quantization, 2020; Li et al.,
BRECQ, 2021; Wei et al., QDrop, 2022; `block_fitting` for walk, decisions and resuming.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from quantable.ir import Graph, Level, OptionError, UnknownNameError
from quantable.passes.base import Pass, PassContext
from quantable.passes.laboratory import FitTask
from quantable.passes.tune.block_fitting import check_rates, check_schedule, with_fitted_blocks
from quantable.passes.tune.blocks import blocks, borders
from quantable.passes.tune.trainable import trainable_biases, trainable_scales, trainable_weights

STARTS = ("original", "present")


@dataclass(frozen=True)
class ReconstructBlocks(Pass):
    """See the module's docstring.

    Attributes:
        block_size: Layers that are fitted together at most, unless the network is never narrow.
        steps, batch: How many steps of how many samples.
        rate: Learning rate of the rounding.
        hardening: Strength of the regulariser at the end, in steps of the optimizer.
        start: Whether the two neighbours are those of the 'original' weight, or the 'present'
            integer (another pass's) and the next one towards the original weight.
        scales: Learn the scales of activations too.
        biases: Learn the biases too.
        drop: Probability that an element of an activation stays float in a step.
        seed: Of batches and drops.
    """

    name: ClassVar[str] = "reconstruct-blocks"
    summary: ClassVar[str] = "learn the rounding of the weights of a block together"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.QUANTABLE})
    block_size: int = 4
    steps: int = 200
    batch: int = 32
    rate: float = 0.3
    hardening: float = 4.0
    start: str = "present"
    scales: bool = True
    biases: bool = True
    drop: float = 0.0
    seed: int = 0

    def check(self) -> None:
        check_schedule(self.block_size, self.steps, self.batch, self.seed)
        check_rates({"rate": self.rate, "hardening": self.hardening})
        if self.start not in STARTS:
            raise UnknownNameError("start", self.start, STARTS)
        if not 0.0 <= self.drop < 1.0:
            raise OptionError(f"drop: expected at least 0, below 1, found {self.drop:g}")

    def data_digest(self, context: PassContext) -> str:
        return context.laboratory.digest if context.laboratory else ""

    def run(self, graph: Graph, context: PassContext) -> Graph:
        found = blocks(graph, self.block_size)
        inside = borders(graph, self.block_size)
        return with_fitted_blocks(graph, context, self, found, self._task, inside)

    def _task(self, graph: Graph, part: Graph) -> FitTask:
        weights = dict.fromkeys(trainable_weights(graph, part), "rounding")
        scales = trainable_scales(graph, part, weights=False, inputs=self.scales)
        biases = trainable_biases(graph, part) if self.biases else frozenset()
        return FitTask(
            part, {}, {}, (), weights, scales if weights else frozenset(),
            biases if weights else frozenset(), self.start == "original", drop=self.drop,
            steps=self.steps, batch=self.batch, weight_rate=self.rate, hardening=self.hardening,
            seed=self.seed,
        )  # fmt: skip
