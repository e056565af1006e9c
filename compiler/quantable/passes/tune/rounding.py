"""Whole steps for weights that do the least to the outputs: closest points of a lattice.

With D what rounding adds to the weights of one output, the squared error that it adds to the output
is ``D H D^T``. Everything here works on all outputs and groups at once, [groups, outputs, k].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantable.passes.tune.error import Metric
from quantable.passes.tune.layer import Layer, Reals

Counts = npt.NDArray[np.int64]
_BLOCK = 32
_SMALL = 9
"""Up to so many weights an output every corner of the cell is tried."""
_CORNERS = 1 << 12
"""Outputs of which all corners are tried at once; bounds the memory."""
_TOGETHER = 1 << 16
"""Weights that descend together; more leave the processor's cache."""
_MOVES = 4
"""Most moves of an output, for each of its weights."""
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

    @staticmethod
    def joined(lattices: Sequence[Lattice]) -> Lattice:
        """Return the points for the outputs of all, one lattice after the other."""
        return Lattice(
            np.concatenate([part.scale for part in lattices], axis=1),
            np.concatenate([part.low for part in lattices], axis=1),
            np.concatenate([part.high for part in lattices], axis=1),
        )

    def nearest(self, target: Reals) -> Reals:
        """Return the steps nearest to real numbers, one by one."""
        return np.clip(np.rint(target / self.scale), self.low, self.high)


class NearestPlane:
    """Rounds one input after the other, each making up for those before it.

    The order is that of falling diagonal of H ("act order"). With ``H = L L^T``, inputs in reverse
    order, the error is the sum of squares of ``(D L)[j] = D[j] L[j, j] + sum of D[i] L[i, j] over
    the i that are rounded already``, and D[j] is chosen so that term j is small. These are GPTQ's
    steps, without an inverse.

    Args:
        hessian: Positive definite.
    """

    def __init__(self, hessian: Reals) -> None:
        diagonal = np.diagonal(hessian, axis1=1, axis2=2)
        self._order = np.argsort(diagonal, axis=1, kind="stable")
        rows, columns = self._order[:, :, None], self._order[:, None, :]
        ordered = np.take_along_axis(np.take_along_axis(hessian, rows, axis=1), columns, axis=2)
        self._lower = np.linalg.cholesky(ordered)

    def steps(self, lattice: Lattice, target: Reals) -> Reals:
        """Return the steps of any number of outputs, [groups, outputs, k]."""
        scale, low, high, wanted = (
            np.take_along_axis(part.transpose(0, 2, 1), self._order[:, :, None], axis=1)
            for part in (lattice.scale, lattice.low, lattice.high, target)
        )  # inputs first: [groups, k, outputs]
        lower, steps = self._lower, np.empty_like(wanted)
        added, terms = np.empty_like(wanted), np.zeros_like(wanted)
        for stop in range(wanted.shape[1], 0, -_BLOCK):
            start = max(stop - _BLOCK, 0)
            for j in range(stop - 1, start - 1, -1):
                aim = wanted[:, j] - terms[:, j] / lower[:, j, j, None]
                n = np.rint(aim / scale[:, j])
                n = steps[:, j] = np.minimum(np.maximum(n, low[:, j]), high[:, j])
                added[:, j] = n * scale[:, j] - wanted[:, j]
                terms[:, start:j] += lower[:, j, start:j, None] * added[:, j, None]
            terms[:, :start] += (
                lower[:, start:stop, :start].transpose(0, 2, 1) @ added[:, start:stop]
            )
        found = np.empty_like(steps)
        np.put_along_axis(found, np.broadcast_to(self._order[:, :, None], steps.shape), steps, 1)
        return np.ascontiguousarray(found.transpose(0, 2, 1))


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

    Of each output the input moves that gains most, to the whole step that is best given all others.
    It ends where no single change helps.
    """
    gradient = (steps * lattice.scale - target) @ hessian
    groups, outputs, k = steps.shape
    group = np.repeat(np.arange(groups), outputs)
    parts = [part.reshape(-1, k) for part in (lattice.scale, lattice.low, lattice.high)]
    found, slope = steps.reshape(-1, k).copy(), gradient.reshape(-1, k)
    size = max(1, _TOGETHER // k)
    for start in range(0, len(found), size):
        rows = slice(start, start + size)
        held = [part[rows] for part in parts]
        found[rows] = _descended(hessian, group[rows], held, slope[rows], found[rows])
    return found.reshape(steps.shape)


def _descended(
    hessian: Reals, group: Counts, parts: list[Reals], slope: Reals, steps: Reals
) -> Reals:
    """Descend with some outputs [n, k] at a time; those that have arrived drop out."""
    done, rest = steps.copy(), np.arange(len(steps))
    diagonal = np.diagonal(hessian, axis1=1, axis2=2)[group]
    scale, low, high = parts
    for _ in range(_MOVES * steps.shape[1]):
        new = np.rint(steps - slope / (diagonal * scale))
        change = (np.minimum(np.maximum(new, low), high) - steps) * scale
        gain = -change * (2.0 * slope + change * diagonal)
        j = gain.argmax(axis=1)
        at = (np.arange(len(j)), j)
        is_moving = gain[at] > _CLEARLY * diagonal[at] * np.square(scale[at])
        if not is_moving.all():
            done[rest] = steps
            if not is_moving.any():
                break
            steps, slope, scale, low, high, diagonal, change = (
                part[is_moving] for part in (steps, slope, scale, low, high, diagonal, change)
            )
            rest, group, j = rest[is_moving], group[is_moving], j[is_moving]
            at = (np.arange(len(j)), j)
        else:
            steps, slope = steps.copy(), slope.copy()
        steps[at] += np.rint(change[at] / scale[at])
        slope += change[at][:, None] * hessian[group, j]
    else:
        done[rest] = steps
    return done


def closest(lattice: Lattice, space: Metric, plane: NearestPlane, *, refine: bool) -> Reals:
    """Return for every output the best steps that the ways above find.

    Args:
        lattice: The points.
        space: The metric, and where the error is least.
        plane: Made for the metric.
        refine: Let `descended` go on from the best.
    """
    tried = [plane.steps(lattice, space.target)]
    if space.target.shape[2] <= _SMALL:
        tried.append(best_corner(lattice, space.hessian, space.target))
    found = lattice.nearest(space.target)
    best = space.error(found * lattice.scale)
    for steps in tried:
        error = space.error(steps * lattice.scale)
        better = error < best
        best = np.where(better, error, best)
        found = np.where(better[:, :, None], steps, found)
    return descended(lattice, space.hessian, space.target, found) if refine else found
