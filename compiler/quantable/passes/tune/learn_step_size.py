"""Train weights, biases and all quantization steps by gradients, against the float network.

Before (target onnxruntime, weights=false, the second channel of x is a sixth of the first):
    c = Conv(x, v, b)
    c.in0 activated own c.in0 = 0.5
    c.in1 activated own c.in1 = 0.25 0.125
After (x was observed up to 127.5, but only reaches 120: finer steps tell more):
    c.in0 activated own c.in0 = 0.467252
    c.in1 activated own c.in1 = 0.249925 0.122382

Weights move freely and are rounded with a straight-through gradient. Scales of weights and of
activations move as the logarithm of what they are multiplied by, with the gradients of Learned Step
Size Quantization; biases move beside. The loss is the squared error of the outputs against those of
the float network: of each block, on the inputs that the quantized network gives it, one after the
other; or of the network at once, where the outputs of the blocks count beside its own, which holds
a fit on few samples together.

Preconditions:
    1. The weight has its row, which no other slot shares, of a linear and static policy.
    2. A row's scales change only where no other block quantizes with it, and no row of a bias is
       derived from it yet; scales of powers of two stay such (see `train-thresholds`).
    3. Calibration samples are there.

Numerics: lossy; accepted block by block (or for the network) where the hardened output error falls
on held-out samples. Operations without gradient, and losses or gradients that are not finite, leave
a block as it is, and the decision names the operation.
See: Esser et al., Learned Step Size Quantization, 2020; Bengio et al., Estimating or Propagating
Gradients Through Stochastic Neurons, 2013; `block_fitting` for walk, decisions and resuming.
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

SCOPES = ("block", "network")
STARTS = ("original", "present")


@dataclass(frozen=True)
class LearnStepSize(Pass):
    """See the module's docstring.

    Attributes:
        scope: Fit 'block' after block, or the 'network' at once.
        block_size: Layers of a block at most, unless the network is never narrow.
        steps, batch: How many steps of how many samples.
        weights: Train the weights; otherwise steps and biases alone.
        start: Whether weights begin as they were in the float network ('original') or as they are
            ('present').
        weight_rate, scale_rate, bias_rate: Learning rates: in steps, as a share of the scale, as a
            share of a typical bias.
        drop: Probability that an element of an activation stays float in a step (QDrop).
        seed: Of batches and drops.
    """

    name: ClassVar[str] = "learn-step-size"
    summary: ClassVar[str] = "train weights and quantization steps by gradients"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.QUANTABLE})
    scope: str = "block"
    block_size: int = 4
    steps: int = 200
    batch: int = 32
    weights: bool = True
    start: str = "present"
    weight_rate: float = 0.02
    scale_rate: float = 1e-3
    bias_rate: float = 1e-3
    drop: float = 0.0
    seed: int = 0

    def check(self) -> None:
        check_schedule(self.block_size, self.steps, self.batch, self.seed)
        check_rates({
            "weight-rate": self.weight_rate, "scale-rate": self.scale_rate,
            "bias-rate": self.bias_rate,
        })  # fmt: skip
        if self.scope not in SCOPES:
            raise UnknownNameError("scope", self.scope, SCOPES)
        if self.start not in STARTS:
            raise UnknownNameError("start", self.start, STARTS)
        if not 0.0 <= self.drop < 1.0:
            raise OptionError(f"drop: expected at least 0, below 1, found {self.drop:g}")

    def data_digest(self, context: PassContext) -> str:
        return context.laboratory.digest if context.laboratory else ""

    def run(self, graph: Graph, context: PassContext) -> Graph:
        found = blocks(graph, self.block_size)
        if self.scope == "network":
            found = [tuple(op.name for op in graph.operations)]
        inside = borders(graph, self.block_size)
        return with_fitted_blocks(graph, context, self, found, self._task, inside)

    def _task(self, graph: Graph, part: Graph) -> FitTask:
        kind = "free" if self.weights else "fixed"
        weights = dict.fromkeys(trainable_weights(graph, part), kind)
        return FitTask(
            part, {}, {}, (), weights,
            trainable_scales(graph, part, weights=True, inputs=True),
            trainable_biases(graph, part), self.start == "original", drop=self.drop,
            steps=self.steps, batch=self.batch, weight_rate=self.weight_rate,
            scale_rate=self.scale_rate, bias_rate=self.bias_rate, seed=self.seed,
        )  # fmt: skip
