"""The output error of a layer, as second moments of its inputs tell it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quantable.passes.laboratory import SecondMoments
from quantable.passes.tune.layer import Layer, Reals


@dataclass(frozen=True, eq=False)
class Metric:
    """``w H w^T - 2 w t^T`` is the squared error of an output with weights w, but for a constant.

    Attributes:
        hessian: H, [groups, k, k].
        target: t of every output, [groups, outputs / group, k].
    """

    hessian: Reals
    target: Reals

    def error(self, weights: Reals) -> Reals:
        """Return the error of every output but for a constant, [groups, outputs / group]."""
        found: Reals = ((weights @ self.hessian - 2.0 * self.target) * weights).sum(axis=2)
        return found


def metric(layer: Layer, moments: SecondMoments) -> Metric:
    """Return the metric in which a layer's weights are to be fitted.

    Where the bias is free it takes up the mean of the error, whatever the weights: then only what
    inputs do around their means counts.
    """
    h, cross = moments.quantized[:, :-1, :-1], moments.cross[:, :-1, :-1]
    sums, sums_original = moments.quantized[:, -1, :-1], moments.cross[:, -1, :-1]
    if layer.has_own_bias:
        h = h - sums[:, :, None] * sums[:, None, :] / moments.count
        cross = cross - sums[:, :, None] * sums_original[:, None, :] / moments.count
        return Metric(h, layer.original @ cross.transpose(0, 2, 1))
    shift = (layer.original_bias - layer.bias)[:, :, None] * sums[:, None, :]
    return Metric(h, layer.original @ cross.transpose(0, 2, 1) + shift)


def best_bias(layer: Layer, moments: SecondMoments) -> Reals:
    """Return the bias that makes the mean of every output what it is in the float network."""
    mean = np.einsum("gok,gk->go", layer.hardened, moments.quantized[:, -1, :-1])
    expected = np.einsum("gok,gk->go", layer.original, moments.cross[:, -1, :-1])
    found: Reals = layer.original_bias + (expected - mean) / moments.count
    return found


def with_best_bias(layer: Layer, moments: SecondMoments) -> Layer:
    """Return the layer with the bias that suits its weights, where it may be changed."""
    return layer.with_bias(best_bias(layer, moments)) if layer.has_own_bias else layer


def noise(layer: Layer, moments: SecondMoments) -> float:
    """Return the squared error of a layer's hardened outputs, divided by that of zeros."""
    mine = np.concatenate([layer.hardened, layer.bias[:, :, None]], axis=2)
    its = np.concatenate([layer.original, layer.original_bias[:, :, None]], axis=2)
    signal = float((its @ moments.original * its).sum())
    cross = float((mine @ moments.cross * its).sum())
    error = float((mine @ moments.quantized * mine).sum()) - 2.0 * cross + signal
    error = max(error, 0.0)  # what is left of a difference of equal numbers may be negative
    return error / signal if signal > 0 else error
