"""Choose the scales of weights by what their rounding does to the outputs.

Before (target c-portable):
    c = Conv(x, v, b)
    c.in1 activated own c.in1 = 0.25 0.125
    b = 1.5 -2.25
After (the largest weights are 127 steps of these scales, and no finer one is worth clipping them;
the bias takes up what rounding -2.1 and 1.03 does to inputs with means):
    c.in1 activated own c.in1 = 0.25 0.125
    b = 0.5469 -0.5445

`calibrate` chooses a scale by the error of the weights, as if all inputs were alike. Here every
scale tries shares of its channel's extrema, and the one with the least squared error of the outputs
wins, on inputs of the quantized network and against outputs of the float one. The error follows
from second moments of the inputs: no candidate runs the network.
The scale that was there stays a candidate, so that weights that lie on a grid keep it.

Preconditions:
    1. The weight has its row, which no other slot shares, of a linear and static policy.
    2. Rows of biases are not derived yet: their scales follow from the weights'. A scale that would
       let a bias overflow is no candidate.
    3. Calibration samples are there.

Numerics: lossy; accepted layer by layer where the output error falls on held-out samples.
See: AIMET's SeqMSE; `tuning` for walk and decisions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from quantable.ir import Graph, Level, OptionError
from quantable.passes.base import Pass, PassContext
from quantable.passes.laboratory import SecondMoments
from quantable.passes.tune.error import metric, with_best_bias
from quantable.passes.tune.layer import Layer
from quantable.passes.tune.scales import with_best_scales
from quantable.passes.tune.tuning import Proposal, tuned


@dataclass(frozen=True)
class SearchScales(Pass):
    """See the module's docstring.

    Attributes:
        candidates: How many shares of the extrema are tried.
        least: The smallest share; the largest is 1.
    """

    name: ClassVar[str] = "search-scales"
    summary: ClassVar[str] = "choose the scales of weights by the error of the outputs"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.QUANTABLE})
    candidates: int = 40
    least: float = 0.3

    def check(self) -> None:
        if self.candidates < 1:
            raise OptionError(f"candidates: expected at least 1, found {self.candidates}")
        if not 0.0 < self.least <= 1.0:
            raise OptionError(f"least: expected more than 0, at most 1, found {self.least:g}")

    def data_digest(self, context: PassContext) -> str:
        return context.laboratory.digest if context.laboratory else ""

    def run(self, graph: Graph, context: PassContext) -> Graph:
        return tuned(graph, context, self.name, [self.searched])

    def searched(self, layer: Layer, moments: SecondMoments) -> Proposal | None:
        """Return the layer with the scales that suit its outputs."""
        space = metric(layer, moments)
        found = with_best_scales(
            layer, lambda tried: [space.error(other.hardened) for other in tried],
            np.linspace(1.0, self.least, self.candidates),
            f"{self.name}: least output error of {self.candidates} shares of the extrema",
        )  # fmt: skip
        if found is layer:
            return None
        count = int((found.row.scale_array != layer.row.scale_array).sum())
        text = f"{count} of {found.row.scale_array.size} scales by output error"
        return Proposal(with_best_bias(found, moments), text)
