"""What gradients change: scales, and the contents of weights and biases; and how they harden.

A weight is held in steps of its scale, so that one learning rate suits all; a scale as the logarithm
of what it is multiplied by, so that it stays positive.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from quantable.ir import QuantizationParameters, TensorQuantizationConfig
from quantable.ir.numerics import along, dequantize
from quantable.training.task import Array

_STRETCH = 0.1
"""How far the learned rounding reaches beyond 0 and 1, so that it gets there."""
_EDGE = 1e-3
_PRESENT = 0.75
"""How much the present integer counts against the original weight, where a fit goes on from it."""
_LARGEST = 4.0
"""A factor of a scale beyond is no refinement."""


class Scale:
    """The scales of one row.

    Args:
        row: The row.
        config: Of a slot that has it.
        is_trained: Whether gradients change it.
    """

    def __init__(
        self, row: QuantizationParameters, config: TensorQuantizationConfig, is_trained: bool
    ) -> None:
        self.row, self.is_trained = row, is_trained
        self._start = torch.from_numpy(row.scale_array.copy())
        self._is_power = config.policy.power_of_two
        self.leaf = torch.zeros_like(self._start).requires_grad_(is_trained)

    def value(self) -> Tensor:
        """Return the scales as they are now."""
        if not self.is_trained:
            return self._start
        change = self.leaf.clamp(-np.log(_LARGEST), np.log(_LARGEST))
        if not self._is_power:
            return self._start * torch.exp(change)
        # From the middle of the thresholds that round up to the present power of two.
        exponent = torch.log2(self._start) - 0.5 + change / np.log(2.0)
        return torch.exp2(exponent + (torch.ceil(exponent) - exponent).detach())

    def hardened(self) -> QuantizationParameters:
        """Return the row with the scales as they are now."""
        scale = self.value().detach().numpy()
        return self.row.filled(scale, self.row.zero_point_array, self.row.provenance)


@dataclass(eq=False)
class Weight(ABC):
    """The contents of a quantized parameter.

    Attributes:
        name: Of the parameter.
        config: Of its slot.
        scale: Of its row.
        present, original: Contents as they are, and as they were in the float network.
        begins_anew: Whether the fit begins from the original ones.
    """

    name: str
    config: TensorQuantizationConfig
    scale: Scale
    present: Array
    original: Array
    begins_anew: bool
    leaf: Tensor | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        row, shape = self.scale.row, self.present.shape
        zero = along(row.zero_point_array, shape, self.config)
        self.low = torch.from_numpy(np.array(self.config.quant_min - zero, np.float32))
        self.high = torch.from_numpy(np.array(self.config.quant_max - zero, np.float32))
        numbers = along(np.arange(row.scale_array.size), shape, self.config)
        self._numbers = torch.from_numpy(np.array(numbers, np.int64))
        self._zero = np.asarray(zero, np.int64)
        self.begin()

    @abstractmethod
    def begin(self) -> None:
        """Make the leaf."""

    @abstractmethod
    def steps(self, spread: Tensor, /) -> Tensor:
        """Return how many steps of its scale each weight is from zero; gradients flow."""

    @abstractmethod
    def hardened_steps(self) -> Tensor:
        """Return the whole numbers that the steps stand for."""

    def value(self, scale: Tensor) -> Tensor:
        """Return the contents that the network computes with, given the scales of the row."""
        spread = scale[self._numbers]
        return self.steps(spread) * spread

    def hardened(self, row: QuantizationParameters, /) -> Array | None:
        """Return contents on the grid of a row, None where they stay as they are."""
        with torch.no_grad():
            whole = self.hardened_steps().numpy().astype(np.int64)
        return dequantize(whole + self._zero, self.config, row)

    def _in_steps(self, contents: Array) -> Tensor:
        values = torch.from_numpy(np.array(contents, np.float32))
        with torch.no_grad():
            return torch.clamp(values / self.scale.value()[self._numbers], self.low, self.high)


class FixedWeight(Weight):
    """Contents stay; the scale moves what they are rounded to."""

    def begin(self) -> None:
        self._contents = torch.from_numpy(np.array(self.present, np.float32))

    def steps(self, spread: Tensor, /) -> Tensor:
        return _rounded(torch.clamp(self._contents / spread, self.low, self.high))

    def hardened_steps(self) -> Tensor:
        return torch.round(self._in_steps(self.present))

    def hardened(self, _: QuantizationParameters, /) -> Array | None:
        return None


class FreeWeight(Weight):
    """Any integers, rounded with a straight-through gradient."""

    def begin(self) -> None:
        start = self.original if self.begins_anew else self.present
        self.leaf = self._in_steps(start).requires_grad_()

    def steps(self, _: Tensor, /) -> Tensor:
        assert self.leaf is not None
        return _rounded(torch.clamp(self.leaf, self.low, self.high))

    def hardened_steps(self) -> Tensor:
        assert self.leaf is not None
        return torch.round(torch.clamp(self.leaf, self.low, self.high))


class OffsetWeight(FreeWeight):
    """The present integers, or those one step away from them."""

    def begin(self) -> None:
        near = torch.round(self._in_steps(self.present))
        self.low, self.high = torch.maximum(self.low, near - 1), torch.minimum(self.high, near + 1)
        super().begin()


class RoundedWeight(Weight):
    """One of the two integers around each weight, as AdaRound learns it.

    Of a weight that lies elsewhere, because another pass rounded it, it is the present integer and
    the next one towards the original weight.
    """

    def begin(self) -> None:
        steps = self._in_steps(self.original)
        self._floor = torch.floor(steps)
        share = steps - self._floor
        if not self.begins_anew:
            near = torch.round(self._in_steps(self.present))
            self._floor = torch.where(near <= steps, near, near - 1)
            share = torch.clamp(steps - self._floor, 0.0, 1.0)
            share = _PRESENT * (near - self._floor) + (1.0 - _PRESENT) * share
        share = (share + _STRETCH) / (1.0 + 2.0 * _STRETCH)
        self.leaf = torch.logit(torch.clamp(share, _EDGE, 1.0 - _EDGE)).requires_grad_()

    def share(self) -> Tensor:
        """Return how far each weight is towards the upper integer, 0 to 1."""
        assert self.leaf is not None
        return torch.clamp(torch.sigmoid(self.leaf) * (1.0 + 2.0 * _STRETCH) - _STRETCH, 0.0, 1.0)

    def steps(self, _: Tensor, /) -> Tensor:
        return torch.clamp(self._floor + self.share(), self.low, self.high)

    def hardened_steps(self) -> Tensor:
        return torch.clamp(self._floor + (self.share() >= 0.5), self.low, self.high)


WEIGHTS: dict[str, type[Weight]] = {
    "fixed": FixedWeight,
    "free": FreeWeight,
    "offset": OffsetWeight,
    "rounding": RoundedWeight,
}
"""Every way in which contents are found."""


class Bias:
    """A parameter that is not quantized while it is trained."""

    def __init__(self, name: str, contents: Array) -> None:
        self.name = name
        self._start = torch.from_numpy(np.array(contents, np.float32))
        typical = float(self._start.abs().mean())
        self._unit = typical if typical > 0 else 1.0
        self.leaf = torch.zeros_like(self._start).requires_grad_()

    def value(self) -> Tensor:
        """Return the contents as they are now."""
        return self._start + self._unit * self.leaf


def _rounded(steps: Tensor) -> Tensor:
    return steps + (torch.round(steps) - steps).detach()
