"""Scales of weights: chosen from many, and fitted to given integers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from quantable.ir.numerics import MIN_SCALE, scale_from_range
from quantable.passes.calibrate.weights import minmax_weights
from quantable.passes.tune.error import Metric
from quantable.passes.tune.layer import Layer, Reals

Errors = Callable[[Sequence[Layer]], Sequence[Reals]]
"""Returns the error of each output, [groups, outputs / group], of a layer with other scales."""
_CLEARLY = 1e-9
_LARGEST = 2.0
"""A factor beyond is no correction; it comes from outputs that hardly vary."""
_TOGETHER = 1 << 20
"""Weights of all candidates that are looked at together; bounds the memory."""


def with_best_scales(layer: Layer, errors: Errors, shares: Reals, provenance: str) -> Layer:
    """Return the layer with the scales that have the least error, each chosen by itself.

    Args:
        layer: The layer; its scales win where none is clearly better.
        errors: What the choice is made by.
        shares: The shares of the extrema of each scale's weights that are tried.
        provenance: Of the row, where it changes.
    """
    chosen, zero = layer.row.scale_array, layer.row.zero_point_array
    numbers = layer.scale_numbers.reshape(-1)

    best = np.full(chosen.shape, np.inf)
    candidates = [layer, *_others(layer, shares)]
    size = max(1, _TOGETHER // max(1, layer.weights.size))
    for start in range(0, len(candidates), size):
        part = candidates[start : start + size]
        for tried, error in zip(part, errors(part), strict=True):
            found = np.bincount(numbers, error.reshape(-1), chosen.size)
            scale, zeros = tried.row.scale_array, tried.row.zero_point_array
            is_allowed = (scale >= layer.least_scale) | (tried is layer)
            better = (found < best * (1.0 - _CLEARLY)) & is_allowed
            best, chosen = np.where(better, found, best), np.where(better, scale, chosen)
            zero = np.where(better, zeros, zero)
    row = layer.row.filled(chosen, zero, provenance)
    return layer if row.digest == layer.row.digest else layer.with_row(row)


def _others(layer: Layer, shares: Reals) -> list[Layer]:
    low, high = minmax_weights(layer.weights, layer.config)
    rows = [scale_from_range(low * share, high * share, layer.config) for share in shares]
    return [layer.with_row(layer.row.filled(scale, zero, "")) for scale, zero in rows]


def with_fitted_scales(layer: Layer, steps: Reals, space: Metric, provenance: str) -> Layer:
    """Return the layer with each scale multiplied by what brings given steps closest to the target.

    With z the weights that the steps are now and t the target, the factor is
    ``z H t^T / z H z^T``. Policies of powers of two keep their scales, and so does what a bias
    would overflow with.
    """
    old = layer.row.scale_array
    if layer.config.policy.power_of_two:
        return layer
    weights = steps * layer.scale
    image, numbers = weights @ space.hessian, layer.scale_numbers.reshape(-1)
    product, energy = (
        np.bincount(numbers, (image * part).sum(axis=2).reshape(-1), old.size)
        for part in (space.target, weights)
    )
    is_known = (energy > 0) & (product > 0)
    factor = np.divide(product, energy, out=np.ones(old.size), where=is_known)
    scale = (old * np.clip(factor, 1.0 / _LARGEST, _LARGEST)).astype(np.float32)
    scale = np.where((scale >= layer.least_scale) & (scale >= MIN_SCALE), scale, old)
    if np.array_equal(scale, old):
        return layer
    return layer.with_row(layer.row.filled(scale, layer.row.zero_point_array, provenance))
