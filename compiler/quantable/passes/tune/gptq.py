"""Round the weights of a layer together, so that their errors cancel in the outputs.

Before (target c-portable):
    c = Conv(x, v, b)
    c.in1 activated own c.in1 = 0.25 0.125
After (contents lie on the grid; they are not all the nearest points of it):
    c.in1 activated own c.in1 = 0.25 0.125

Let X be what the weights meet in the quantized network and F in the float one. The outputs
``X q^T`` come closest to ``F w^T`` for q at ``H^-1 G w``, H = X^T X and G = X^T F, and whole steps
away from there cost ``D H D^T``. The steps are found input by input, each rounding making up for
those before (GPTQ, in the order of falling diagonal of H), by trying all corners where an output has
few weights (depthwise), and are then changed one at a time until nothing helps. H and G belong to one
group of a convolution; the mean of the error is the bias's, where there is one.

Preconditions:
    1. The weight has its row, which no other slot shares, of a linear and static policy.
    2. Calibration samples are there.
    3. H is damped by `damping` times the mean of its diagonal towards the float weights, which
       decide alone where an input is dead or samples are few.

Numerics: lossy; accepted layer by layer where the output error falls on held-out samples. Contents
become exactly the numbers that `bake` stores.
See: Frantar et al., GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers, 2022; Chen et al., The Geometry of LLM Quantization: GPTQ as Babai's Nearest Plane
Algorithm, 2025; `rounding`; `tuning` for walk and decisions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from quantable.ir import Graph, Level, OptionError
from quantable.passes.base import Pass, PassContext
from quantable.passes.laboratory import SecondMoments
from quantable.passes.tune.error import metric, with_best_bias
from quantable.passes.tune.layer import Layer, Reals
from quantable.passes.tune.rounding import Lattice, closest
from quantable.passes.tune.tuning import Proposal, tuned


@dataclass(frozen=True)
class Gptq(Pass):
    """See the module's docstring.

    Attributes:
        damping: Weight of the float weights, as a share of the mean diagonal of H.
        refine: Change steps one at a time afterwards, until nothing helps.
    """

    name: ClassVar[str] = "gptq"
    summary: ClassVar[str] = "round the weights of a layer together"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.QUANTABLE})
    damping: float = 0.01
    refine: bool = True

    def check(self) -> None:
        if not 0.0 < self.damping <= 1e6:
            raise OptionError(f"damping: expected more than 0, found {self.damping:g}")

    def data_digest(self, context: PassContext) -> str:
        return context.laboratory.digest if context.laboratory else ""

    def run(self, graph: Graph, context: PassContext) -> Graph:
        return tuned(graph, context, self.name, [self.rounded])

    def rounded(self, layer: Layer, moments: SecondMoments) -> Proposal | None:
        """Return the layer with weights that are rounded together."""
        hessian, target = damped(layer, moments, self.damping)
        lattice = Lattice(layer.scale, *layer.bounds)
        before = layer.steps
        steps = closest(lattice, hessian, target, refine=self.refine)
        count = int((steps != before).sum())
        if not count:
            return None
        found = with_best_bias(layer.with_steps(steps), moments)
        return Proposal(found, f"{count} of {steps.size} weights rounded another way")


def damped(layer: Layer, moments: SecondMoments, damping: float) -> tuple[Reals, Reals]:
    """Return H, positive definite, and the weights where the error is least."""
    space = metric(layer, moments)
    k = space.hessian.shape[1]
    mean = np.trace(space.hessian, axis1=1, axis2=2) / max(k, 1)
    # Inputs that are all dead leave the weights as they are, with any number.
    weight = np.where(mean > 0, damping * mean, 1.0)[:, None, None]
    hessian = space.hessian + weight * np.eye(k)
    right = space.target + weight * layer.original
    found: Reals = np.linalg.solve(hessian, right.transpose(0, 2, 1)).transpose(0, 2, 1)
    return hessian, found
