"""The output error of a layer: as second moments of its inputs tell it, and measured on rows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from quantable.passes.laboratory import Floats, LayerRows, SecondMoments
from quantable.passes.tune.layer import Layer, Reals

DAMPING = 0.003
"""Least weight of the float weights in a fit, as a share of the mean diagonal."""

_NOTHING = 1e-10
"""A share of a sum of squares that may be an error of rounding."""


@dataclass(frozen=True, eq=False)
class Metric:
    """The squared error of an output with weights w is ``(w - t) H (w - t)^T`` and a constant.

    Attributes:
        hessian: H, positive definite, [groups, k, k].
        target: t of every output, [groups, outputs / group, k].
    """

    hessian: Reals
    target: Reals

    def error(self, weights: Reals) -> Reals:
        """Return the error of every output but for the constant, [groups, outputs / group]."""
        added = weights - self.target
        found: Reals = ((added @ self.hessian) * added).sum(axis=2)
        return found


def metric(layer: Layer, moments: SecondMoments, damping: float = DAMPING) -> Metric:
    """Return the metric in which a layer's weights are to be fitted.

    The error of weights against the float ones, input by input, is added with the weight
    ``damping + (k / rows)^2``, a share of the mean diagonal: what many samples say decides, and
    what few say does not.
    """
    h, right = centred(layer, moments)
    k = h.shape[1]
    mean = np.trace(h, axis1=1, axis2=2) / k
    share = damping + (k / moments.count) ** 2
    # Of inputs that hardly vary around their means, differences of large numbers are left.
    whole = np.trace(moments.quantized[:, :-1, :-1], axis1=1, axis2=2) / k
    weight = np.maximum(share * mean, _NOTHING * whole)
    # Inputs that are all dead leave the weights as they are, whatever the number.
    weight = np.where(weight > 0, weight, 1.0)[:, None, None]
    h = h + weight * np.eye(k)
    right = right + weight * layer.original
    solved = np.linalg.solve(h, right.transpose(0, 2, 1))
    target: Reals = solved.transpose(0, 2, 1).astype(np.float64, copy=False)
    return Metric(h, target)


def centred(layer: Layer, moments: SecondMoments) -> tuple[Reals, Reals]:
    """Return H and r: ``w H w^T - 2 w r^T`` is the squared error of weights w, and a constant.

    Where the bias is free it takes up the mean of the error, whatever the weights: then only what
    inputs do around their means counts.
    """
    h, cross = moments.quantized[:, :-1, :-1], moments.cross[:, :-1, :-1]
    sums, sums_original = moments.quantized[:, -1, :-1], moments.cross[:, -1, :-1]
    if layer.has_own_bias:
        h = h - sums[:, :, None] * sums[:, None, :] / moments.count
        cross = cross - sums[:, :, None] * sums_original[:, None, :] / moments.count
    right = layer.original @ cross.transpose(0, 2, 1)
    if not layer.has_own_bias:
        right = right + (layer.original_bias - layer.bias)[:, :, None] * sums[:, None, :]
    return h, right


def best_bias(layer: Layer, moments: SecondMoments) -> Reals:
    """Return the bias that makes the mean of every output what it is in the float network."""
    mean = np.einsum("gok,gk->go", layer.hardened, moments.quantized[:, -1, :-1])
    expected = np.einsum("gok,gk->go", layer.original, moments.cross[:, -1, :-1])
    found: Reals = layer.original_bias + (expected - mean) / moments.count
    return found


def with_best_bias(layer: Layer, moments: SecondMoments) -> Layer:
    """Return the layer with the bias that suits its weights, where it may be changed."""
    return layer.with_bias(best_bias(layer, moments)) if layer.has_own_bias else layer


class LayerNoise:
    """The squared error of a layer's hardened outputs on some rows, divided by that of zeros.

    Args:
        layer: Its originals are the float layer.
        rows: What its weights meet in either network.
    """

    def __init__(self, layer: Layer, rows: LayerRows) -> None:
        count = rows.quantized.shape[1]
        # Two parts and two threads, whatever the machine has; sums have one order.
        self._parts = [slice(0, count // 2), slice(count // 2, None)]
        self._quantized = rows.quantized[:, :, :-1]
        products = self._products(rows.original[:, :, :-1], layer.original)
        self._wanted = [part + _row(layer.original_bias) for part in products]
        self._signal = sum(_energy(part) for part in self._wanted)
        self._held: tuple[Layer, list[Floats]] | None = None

    def __call__(self, layer: Layer) -> float:
        """Return the error of the layer as it is now."""
        bias = _row(layer.bias)
        pairs = zip(self._outputs(layer), self._wanted, strict=True)
        error = sum(_energy(found + bias - wanted) for found, wanted in pairs)
        return error / self._signal if self._signal > 0 else error

    def _outputs(self, layer: Layer) -> list[Floats]:
        """Return the outputs without the bias: what differs in nothing else need not run anew."""
        if self._held is not None:
            before, found = self._held
            if before.weights is layer.weights and before.row is layer.row:
                return found
        found = self._products(self._quantized, layer.hardened)
        self._held = layer, found
        return found

    def _products(self, rows: Floats, weights: Reals) -> list[Floats]:
        """Return [groups, rows, outputs / group] of either part."""
        columns = weights.transpose(0, 2, 1).astype(np.float32)
        with ThreadPoolExecutor(len(self._parts)) as pool:
            return list(pool.map(lambda part: rows[:, part] @ columns, self._parts))


def _row(bias: Reals) -> Floats:
    return bias[:, None, :].astype(np.float32)


def _energy(values: Floats) -> float:
    """Return the sum of squares: in float32 within a row of outputs, in float64 over rows."""
    return float(np.einsum("gro,gro->gr", values, values).sum(dtype=np.float64))
