"""Scales of weights to choose from."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from quantable.ir.numerics import scale_from_range
from quantable.passes.calibrate.weights import minmax_weights
from quantable.passes.tune.layer import Layer, Reals

_CLEARLY = 1e-9


def with_best_scales(
    layer: Layer, error: Callable[[Layer], Reals], shares: Reals, provenance: str
) -> Layer:
    """Return the layer with the scales that have the least error, each chosen by itself.

    Args:
        layer: The layer; its scales win where none is clearly better.
        error: Returns the error of each output of a layer with other scales, [groups, outputs].
        shares: The shares of the extrema of each scale's weights that are tried.
        provenance: Of the row, where it changes.
    """
    chosen, zero = layer.row.scale_array, layer.row.zero_point_array
    numbers = layer.scale_numbers.reshape(-1)

    def by_scale(tried: Layer) -> Reals:
        return np.bincount(numbers, error(tried).reshape(-1), chosen.size).astype(np.float64)

    best = by_scale(layer)
    for tried in _others(layer, shares):
        found = by_scale(tried)
        scale, zeros = tried.row.scale_array, tried.row.zero_point_array
        better = (found < best - _CLEARLY * np.abs(best)) & (scale >= layer.least_scale)
        best, chosen = np.where(better, found, best), np.where(better, scale, chosen)
        zero = np.where(better, zeros, zero)
    row = layer.row.filled(chosen, zero, provenance)
    return layer if row.digest == layer.row.digest else layer.with_row(row)


def _others(layer: Layer, shares: Reals) -> Iterator[Layer]:
    low, high = minmax_weights(layer.weights, layer.config)
    for share in shares:
        scale, zero = scale_from_range(low * share, high * share, layer.config)
        yield layer.with_row(layer.row.filled(scale, zero, ""))
