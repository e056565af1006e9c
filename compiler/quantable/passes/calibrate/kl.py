"""The range whose quantized distribution is nearest to the real one (Kullback-Leibler).

As in TensorRT (S. Migacz, 8-bit inference with TensorRT, 2017): for every candidate range, P is the
distribution with what lies outside added to its last bins; Q is what is inside, merged to as many
levels as the integers have, each level spread again over its bins that are not empty. Beyond it:
both ends of a two-sided range are scaled together, Q is smoothed where it is zero and P is not, and
zeros are left out, since a Relu's would outweigh everything.
"""

from __future__ import annotations

import numpy as np

from quantable.ir import TensorQuantizationConfig, ValueStatistics
from quantable.passes.calibrate.density import Density, Reals

_BINS = 4096
_CANDIDATES = 64
_FLOOR = 1e-9


def kl_range(
    statistics: ValueStatistics, config: TensorQuantizationConfig, percentile: float
) -> tuple[float, float]:
    """Return the range with the least divergence; the whole one where there is nothing to clip."""
    del percentile
    low, high = min(statistics.minimum, 0.0), max(statistics.maximum, 0.0)
    levels = config.quant_max - config.quant_min + 1
    if levels * 2 > _BINS or high <= low:
        return low, high
    if config.policy.is_symmetric:
        low, high = -max(-low, high), max(-low, high)
    histogram = _uniform(Density.of(statistics).coarsened(1 << 20), low, high)
    best = (np.inf, 1.0)
    for share in np.linspace(1.0, levels / _BINS * 2, _CANDIDATES):
        first, last = _cut(low, high, float(share))
        divergence = _divergence(histogram, first, last, levels)
        if divergence < best[0]:
            best = (divergence, float(share))
    return low * best[1], high * best[1]


def _uniform(density: Density, low: float, high: float) -> Reals:
    """Spread the density over uniform bins of [low, high]."""
    edges = np.linspace(low, high, _BINS + 1)
    xp = np.concatenate([[low], density.lower, density.upper, [high]])
    before = np.concatenate([[0.0], np.cumsum(density.mass)])
    fp = np.concatenate([[0.0], before[:-1], before[1:], before[-1:]])
    order = np.lexsort((fp, xp))
    histogram: Reals = np.diff(np.interp(edges, xp[order], fp[order]))
    return histogram


def _cut(low: float, high: float, share: float) -> tuple[int, int]:
    zero = round(-low / (high - low) * _BINS)
    first = zero - round(zero * share)
    return first, max(zero + round((_BINS - zero) * share), first + 2)


def _divergence(histogram: Reals, first: int, last: int, levels: int) -> float:
    inside = histogram[first:last]
    p = inside.copy()
    p[0] += histogram[:first].sum()
    p[-1] += histogram[last:].sum()
    level = np.arange(inside.size) * levels // inside.size
    held = (inside > 0).astype(np.float64)
    merged = np.bincount(level, inside, levels) / np.maximum(np.bincount(level, held, levels), 1.0)
    q = merged[level] * held
    if p.sum() <= 0 or q.sum() <= 0:
        return float(np.inf)
    p, q = p / p.sum(), np.maximum(q / q.sum(), _FLOOR)
    used = p > 0
    return float((p[used] * np.log(p[used] / q[used])).sum())
