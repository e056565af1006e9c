"""Fit the bias and the scale of every output to the float network, layer after layer.

Before (target c-portable, x has channel means 60 and 10):
    c = Conv(x, v, b)
    c.in1 activated own c.in1 = 0.25 0.125
    b = 1.5 -2.25
After (-2.1 was rounded up and 1.03 down; the scales are refused, they do not lower the error):
    c.in1 activated own c.in1 = 0.25 0.125
    b = 0.5469 -0.5445

Where `correct-bias` counts what rounded weights do to float inputs, here a layer's inputs are those
of the quantized network, everything before it corrected. First the bias takes up the difference of
the means of each output, whatever made it: rounding and clipping of weights and activations, in all
layers before. Then each scale of the weights is multiplied by ``<y, z> / <z, z>``, y the float
outputs around their mean and z the quantized ones: the integers of the weights stay, which shrink
or grow together.

Preconditions:
    1. The weight has its row, which no other slot shares, of a linear and static policy.
    2. A bias of its own is corrected; without one only the scales are fitted.
    3. Rows of biases are not derived yet; policies of powers of two keep their scales, and so does
       an output whose bias would overflow.
    4. Calibration samples are there.

Numerics: lossy; bias and scales are each accepted layer by layer where the output error falls on
held-out samples.
See: NNCF's BiasCorrection for the order; peers fit no scales. `tuning` for walk and decisions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from quantable.ir import Graph, Level
from quantable.passes.base import Pass, PassContext
from quantable.passes.laboratory import SecondMoments
from quantable.passes.tune.error import metric, with_best_bias
from quantable.passes.tune.layer import Layer
from quantable.passes.tune.scales import with_fitted_scales
from quantable.passes.tune.tuning import Proposal, tuned


@dataclass(frozen=True)
class CorrectBiasSequentially(Pass):
    """See the module's docstring.

    Attributes:
        scales: Fit the scales of the weights too.
    """

    name: ClassVar[str] = "correct-bias-sequentially"
    summary: ClassVar[str] = "fit bias and scale of every output, layer after layer"
    levels: ClassVar[frozenset[Level]] = frozenset({Level.QUANTABLE})
    scales: bool = True

    def data_digest(self, context: PassContext) -> str:
        return context.laboratory.digest if context.laboratory else ""

    def run(self, graph: Graph, context: PassContext) -> Graph:
        steps = [rescaled] if self.scales else []
        return tuned(graph, context, self.name, steps, changes_scales=self.scales)


def rescaled(layer: Layer, moments: SecondMoments) -> Proposal | None:
    """Return the layer with scales that suit its outputs, and the same integers."""
    steps, name = layer.steps, CorrectBiasSequentially.name
    text = f"{layer.row.provenance}; {name}: fitted to outputs"
    found = with_fitted_scales(layer, steps, metric(layer, moments), text)
    if found is layer:
        return None
    factor = found.row.scale_array / layer.row.scale_array
    count = int((factor != 1.0).sum())
    tried = f"{count} of {factor.size} scales times {factor.min():.4g} to {factor.max():.4g}"
    return Proposal(with_best_bias(found.with_steps(steps), moments), tried)
