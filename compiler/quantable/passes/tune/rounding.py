"""Whole steps for weights that do the least to the outputs: closest points of a lattice.

With D what rounding adds to the weights of one output, the squared error that it adds to the output
is ``D H D^T``. Everything here works on all outputs and groups at once, [groups, outputs, k].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from quantable.passes.tune.error import Metric
from quantable.passes.tune.layer import Layer, Reals

_BLOCK = 128
_SMALL = 9
"""Up to so many weights an output every corner of the cell is tried."""
_CORNERS = 1 << 12
"""Outputs of which all corners are tried at once; bounds the memory."""
_SWEEPS = 32
_CLEARLY = 1e-9


@dataclass(frozen=True, eq=False)
class Lattice:
    """The points to choose from: ``steps * scale``.

    Attributes:
        scale: Of every weight.
        low, high: Least and largest steps.
    """

    scale: Reals
    low: Reals
    high: Reals

    @staticmethod
    def of(layer: Layer) -> Lattice:
        """Return the points that the weights of a layer may be."""
        return Lattice(layer.scale, *layer.bounds)

    def nearest(self, target: Reals) -> Reals:
        """Return the steps nearest to real numbers, one by one."""
        return np.clip(np.rint(target / self.scale), self.low, self.high)


def nearest_plane(lattice: Lattice, hessian: Reals, target: Reals) -> Reals:
    """Return steps rounded one input after the other, each making up for those before it.

    The order is that of falling diagonal of H ("act order"). With ``H = L L^T``, inputs in reverse
    order, the error is the sum of squares of ``(D L)[j] = D[j] L[j, j] + sum of D[i] L[i, j] over
    the i that are rounded already``, and D[j] is chosen so that term j is small. These are GPTQ's
    steps, without an inverse.
    """
    order = np.argsort(np.diagonal(hessian, axis1=1, axis2=2), axis=1, kind="stable")
    sorted_hessian = np.take_along_axis(
        np.take_along_axis(hessian, order[:, :, None], axis=1), order[:, None, :], axis=2
    )
    lower = np.linalg.cholesky(sorted_hessian)
    scale, low, high, wanted = (
        np.take_along_axis(part, order[:, None, :], axis=2)
        for part in (lattice.scale, lattice.low, lattice.high, target)
    )
    steps, added = np.empty_like(wanted), np.empty_like(wanted)
    terms = np.zeros_like(wanted)
    for stop in range(wanted.shape[2], 0, -_BLOCK):
        start = max(stop - _BLOCK, 0)
        for j in range(stop - 1, start - 1, -1):
            aim = wanted[:, :, j] - terms[:, :, j] / lower[:, None, j, j]
            n = np.clip(np.rint(aim / scale[:, :, j]), low[:, :, j], high[:, :, j])
            steps[:, :, j] = n
            added[:, :, j] = n * scale[:, :, j] - wanted[:, :, j]
            terms[:, :, start:j] += added[:, :, j, None] * lower[:, None, j, start:j]
        terms[:, :, :start] += added[:, :, start:stop] @ lower[:, start:stop, :start]
    found = np.empty_like(steps)
    np.put_along_axis(found, np.broadcast_to(order[:, None, :], steps.shape), steps, axis=2)
    return found


def best_corner(lattice: Lattice, hessian: Reals, target: Reals) -> Reals:
    """Return the best of all ways to round every weight down or up; for few weights an output."""
    k = target.shape[2]
    corners = (np.arange(1 << k)[:, None] >> np.arange(k)[None, :] & 1).astype(np.float64)
    down = np.floor(target / lattice.scale)
    found = np.empty_like(down)
    size = max(1, _CORNERS // down.shape[1])
    for start in range(0, len(down), size):
        part = slice(start, start + size)
        shape = (len(down[part]), -1, k)
        low, high = lattice.low[part, :, None], lattice.high[part, :, None]
        tried = np.clip(down[part, :, None] + corners, low, high)
        added = tried * lattice.scale[part, :, None] - target[part, :, None]
        flat = added.reshape(shape)
        errors = ((flat @ hessian[part]) * flat).sum(axis=2).reshape(added.shape[:3])
        best = errors.argmin(axis=2)
        found[part] = np.take_along_axis(tried, best[:, :, None, None], axis=2)[:, :, 0]
    return found


def descended(lattice: Lattice, hessian: Reals, target: Reals, steps: Reals) -> Reals:
    """Return steps after changing one at a time, as long as the error falls.

    The inputs take turns; each moves to the whole step that is best given all others, which is
    none worse than where it is. It ends where no single change helps.
    """
    steps = steps.copy()
    gradient = (steps * lattice.scale - target) @ hessian
    diagonal = np.diagonal(hessian, axis1=1, axis2=2)
    for _ in range(_SWEEPS):
        moves = 0
        for j in range(steps.shape[2]):
            scale, slope = lattice.scale[:, :, j], gradient[:, :, j]
            curve = diagonal[:, None, j] * scale
            old = steps[:, :, j]
            new = np.clip(
                old + np.rint(-slope / curve), lattice.low[:, :, j], lattice.high[:, :, j]
            )
            change = (new - old) * scale
            gain = -change * (2.0 * slope + change * diagonal[:, None, j])
            g, o = np.nonzero(gain > _CLEARLY * curve * scale)
            if not g.size:
                continue
            steps[g, o, j] = new[g, o]
            gradient[g, o] += change[g, o, None] * hessian[g, j]
            moves += g.size
        if not moves:
            break
    return steps


def closest(lattice: Lattice, space: Metric, *, refine: bool) -> Reals:
    """Return for every output the best steps that the ways above find.

    Args:
        lattice: The points.
        space: The metric, and where the error is least.
        refine: Let `descended` go on from the best.
    """
    ways: list[Callable[[Lattice, Reals, Reals], Reals]] = [nearest_plane]
    if space.target.shape[2] <= _SMALL:
        ways.append(best_corner)
    found = lattice.nearest(space.target)
    best = space.error(found * lattice.scale)
    for way in ways:
        steps = way(lattice, space.hessian, space.target)
        error = space.error(steps * lattice.scale)
        better = error < best
        best = np.where(better, error, best)
        found = np.where(better[:, :, None], steps, found)
    return descended(lattice, space.hessian, space.target, found) if refine else found
