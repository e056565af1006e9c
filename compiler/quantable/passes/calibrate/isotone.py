"""The range that keeps the order of the two largest of competing numbers.

A classifier's answer is where its largest output is. A grid keeps it where the largest and the
second largest number become different integers: its steps must be small beside their distance, and
its end must not cut both off. Each pair allows a range of scales; the scale that most pairs allow
is chosen, and of those that serve equally many the one with the least squared error.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quantable.ir import QuantizationParameters, TensorQuantizationConfig
from quantable.ir.numerics import rounded, scale_from_range

Reals = npt.NDArray[np.float32]
_SHARES = np.geomspace(2.0, 1.0 / 16, 161)
"""Of the extrema: clipping makes the steps smaller, and a wider range cuts nothing off."""


def top_2(values: npt.NDArray[np.generic], axis: int) -> Reals:
    """Return the largest and the second largest number along an axis, [others, 2]."""
    moved = np.moveaxis(np.asarray(values, np.float32), axis, -1)
    ordered = np.partition(moved, -2, axis=-1)[..., -2:]
    pairs: Reals = ordered[..., ::-1].reshape(-1, 2)
    return pairs


def kept_order(
    pairs: Reals, config: TensorQuantizationConfig, row: QuantizationParameters
) -> npt.NDArray[np.bool_]:
    """Return, for each pair, whether a row tells its numbers apart; equal ones have no order."""
    quantized = rounded(pairs, config, row)
    kept: npt.NDArray[np.bool_] = np.logical_or(
        quantized[:, 0] > quantized[:, 1], pairs[:, 0] == pairs[:, 1]
    )
    return kept


def isotone_row(
    values: npt.NDArray[np.generic],
    axis: int,
    config: TensorQuantizationConfig,
    row: QuantizationParameters,
    provenance: str,
) -> QuantizationParameters:
    """Return the row with which most pairs keep their order; the given one where none is better.

    Args:
        values: Of the float network, any shape, finite.
        axis: Along which numbers compete.
        config: How they are quantized: linear, static, per tensor.
        row: The present row, which is a candidate.
        provenance: What the new row says of its origin.
    """
    pairs = top_2(values, axis)
    every = np.asarray(values, np.float32).reshape(-1)
    low, high = float(min(every.min(), 0.0)), float(max(every.max(), 0.0))
    best = row
    score = _score(pairs, every, config, row)
    for share in _SHARES:
        scale, zero = scale_from_range(
            np.asarray([low * share]), np.asarray([high * share]), config
        )
        candidate = row.filled(scale, zero, provenance)
        found = _score(pairs, every, config, candidate)
        if found > score:
            best, score = candidate, found
    return best


def _score(
    pairs: Reals, every: Reals, config: TensorQuantizationConfig, row: QuantizationParameters
) -> tuple[int, float]:
    """Return how many pairs keep their order, and the squared error with its sign changed."""
    error = rounded(every, config, row).astype(np.float64) - every
    return int(kept_order(pairs, config, row).sum()), -float(np.square(error).sum())
