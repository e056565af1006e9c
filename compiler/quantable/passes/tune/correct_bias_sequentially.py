"""Fit the bias and the scale of every output to the float network, layer after layer.

Before (target c-portable):
    c = Conv(x, v, b)
    c.in1 activated own c.in1 = 0.25 0.125
After:
    c.in1 activated own c.in1

Where `correct-bias` counts what rounded weights do to float inputs, here a layer's inputs are those
of the quantized network, everything before it corrected. First the bias takes up the difference of
the means of each output, whatever made it: rounding and clipping of weights and activations, in all
layers before. Then each scale of the weights is multiplied by ``a = <y, z> / <z, z>``, y the float
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

import numpy as np

from quantable.ir import Graph, Level
from quantable.passes.base import Pass, PassContext
from quantable.passes.laboratory import SecondMoments
from quantable.passes.tune.error import NOTHING, centred, with_best_bias
from quantable.passes.tune.layer import Layer, Reals
from quantable.passes.tune.tuning import Proposal, tuned

_LARGEST = 2.0
"""A factor beyond is no correction; it comes from outputs that hardly vary."""


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
    if layer.config.policy.power_of_two:
        return None
    factor = _factors(layer, moments)
    old = layer.row.scale_array
    scale = (old * factor).astype(np.float32)
    scale = np.where(scale >= layer.least_scale, scale, old)
    count = int((scale != old).sum())
    if not count:
        return None
    text = f"{layer.row.provenance}, times {factor.min():.4g} to {factor.max():.4g} by outputs"
    row = layer.row.filled(scale, layer.row.zero_point_array, text)
    found = layer.with_row(row).with_steps(layer.steps)
    tried = f"{count} of {scale.size} scales times {factor.min():.4g} to {factor.max():.4g}"
    return Proposal(with_best_bias(found, moments), tried)


def _factors(layer: Layer, moments: SecondMoments) -> Reals:
    """Return what each scale is to be multiplied by; 1 where outputs say nothing."""
    hessian, right = centred(layer, moments)
    weights, count = layer.hardened, layer.row.scale_array.size
    numbers = layer.scale_numbers.reshape(-1)
    product = np.bincount(numbers, (weights * right).sum(axis=2).reshape(-1), count)
    energy, whole = (
        np.bincount(numbers, ((weights @ part) * weights).sum(axis=2).reshape(-1), count)
        for part in (hessian, moments.quantized[:, :-1, :-1])
    )
    is_known = (energy > NOTHING * whole) & (product > 0)
    found: Reals = np.divide(product, energy, out=np.ones(count), where=is_known)
    return np.clip(found, 1.0 / _LARGEST, _LARGEST)
