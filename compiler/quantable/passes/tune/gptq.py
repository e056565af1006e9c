"""Round the weights of a layer together, so that their errors cancel in the outputs.

Before (target c-portable, scales=0, the second channel of x is a sixth of the first):
    c = Conv(x, v, b)
    c.in1 activated own c.in1 = 0.25 0.125
    v = 31.75 -2.1 1.03 -15.88
After (1.03 is rounded down, and -15.875, which is a whole step, goes up to make up for it):
    c.in1 activated own c.in1 = 0.25 0.125
    v = 31.75 -2 1 -15.75

Let X be what the weights meet in the quantized network and F in the float one. The outputs
``X q^T`` come closest to ``F w^T`` for q at ``H^-1 G w``, H = X^T X and G = X^T F, and whole steps
away from there cost ``D H D^T``. The steps are found input by input, each rounding making up for
those before (GPTQ, in the order of falling diagonal of H), by trying all corners where an output
has few weights (depthwise), and are then changed one at a time until nothing helps. Scales are
chosen by what is left then. H and G belong to one group of a convolution; the mean of the error is
the bias's, where there is one.

Preconditions:
    1. The weight has its row, which no other slot shares, of a linear and static policy.
    2. Calibration samples are there.
    3. H is damped towards the float weights (see `metric`), which decide alone where an input is
       dead, and more where samples are few.

Numerics: lossy; accepted layer by layer where the output error falls on held-out samples. Contents
become exactly the numbers that `bake` stores.
See: Frantar et al., GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers, 2022; Chen et al., The Geometry of LLM Quantization: GPTQ as Babai's Nearest Plane
Algorithm, 2025; `rounding`; `tuning` for walk and decisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from quantable.ir import Graph, Level, OptionError
from quantable.passes.base import Pass, PassContext
from quantable.passes.laboratory import SecondMoments
from quantable.passes.tune.error import DAMPING, Metric, metric, with_best_bias
from quantable.passes.tune.layer import Layer, Reals, reason_for_scales
from quantable.passes.tune.rounding import Lattice, NearestPlane, closest, descended
from quantable.passes.tune.scales import with_best_scales, with_fitted_scales
from quantable.passes.tune.tuning import FINE, Proposal, tuned


@dataclass(frozen=True)
class Gptq(Pass):
    """See the module's docstring.

    Attributes:
        damping: Least weight of the float weights, as a share of the mean diagonal of H.
        scales: How many shares of the extrema of each scale's weights are tried as scales, from 1
            down to `least`; 0 leaves the scales as they are.
        least: The smallest share.
        refine: Change steps one at a time afterwards, until nothing helps.
        rounds: How often scales are fitted to the steps, and the steps changed for these scales;
            not without `refine`, nor where scales stay.
        rows: How many rows of inputs H and G are sums over, for each weight of an output; 0 takes
            4 for weights of 8 bits or more, and 64 for others.
    """

    name: ClassVar[str] = "gptq"
    summary: ClassVar[str] = "round the weights of a layer together"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.QUANTABLE})
    damping: float = DAMPING
    scales: int = 16
    least: float = 0.4
    refine: bool = True
    rounds: int = 3
    rows: int = 0

    def check(self) -> None:
        if not 0.0 < self.damping <= 1e6:
            raise OptionError(f"damping: expected more than 0, found {self.damping:g}")
        if self.scales < 0:
            raise OptionError(f"scales: expected at least 0, found {self.scales}")
        for option in ("rounds", "rows"):
            if getattr(self, option) < 0:
                raise OptionError(f"{option}: expected at least 0, found {getattr(self, option)}")
        if not 0.0 < self.least <= 1.0:
            raise OptionError(f"least: expected more than 0, at most 1, found {self.least:g}")

    def data_digest(self, context: PassContext) -> str:
        return context.laboratory.digest if context.laboratory else ""

    def run(self, graph: Graph, context: PassContext) -> Graph:
        return tuned(
            graph, context, self.name, [self.rounded], changes_scales=False, rows=self.rows
        )

    def rounded(self, layer: Layer, moments: SecondMoments) -> Proposal | None:
        """Return the layer with weights that are rounded together."""
        space = metric(layer, moments, self.damping)
        plane = NearestPlane(space.hessian)
        # From 8 bits on scales stay, and no single steps are changed: it takes most of the time,
        # and gains nothing that other samples confirm.
        is_coarse = layer.config.bits < FINE
        refine = self.refine and is_coarse
        found = self._rescaled(layer, space, plane) if is_coarse else layer
        steps = closest(Lattice.of(found), space, plane, refine=refine)
        is_free = self.scales and refine and not reason_for_scales(layer.op)
        for _ in range(self.rounds if is_free else 0):
            found = with_fitted_scales(found, steps, space, f"{self.name}: fitted to outputs")
            steps = descended(Lattice.of(found), space.hessian, space.target, steps)
        others = int((found.row.scale_array != layer.row.scale_array).sum())
        count = int((steps != layer.steps).sum())
        if not count and not others:
            return None
        text = f"{count} of {steps.size} weights rounded another way, {others} scales changed"
        return Proposal(with_best_bias(found.with_steps(steps), moments), text)

    def _rescaled(self, layer: Layer, space: Metric, plane: NearestPlane) -> Layer:
        """Return the layer with the scales that suit weights that are rounded together."""
        if not self.scales or reason_for_scales(layer.op):
            return layer

        def errors(tried: Sequence[Layer]) -> Sequence[Reals]:
            lattice = Lattice.joined([Lattice.of(other) for other in tried])
            target = np.tile(space.target, (1, len(tried), 1))
            rounded = plane.steps(lattice, target) * lattice.scale
            return np.split(Metric(space.hessian, target).error(rounded), len(tried), axis=1)

        shares = np.linspace(1.0, self.least, self.scales)
        text = f"{self.name}: least output error of {self.scales} shares of the extrema"
        return with_best_scales(layer, errors, shares, text)
