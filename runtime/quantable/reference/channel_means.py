"""Means of channels, one a sample, while a graph is observed."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from quantable.ir import ChannelMeans

_WAITING = 64
"""Samples whose means are held before they are summed."""


@functools.cache
def _others(rank: int, axis: int) -> tuple[int, ...]:
    return tuple(a for a in range(rank) if a != axis % rank)


class ChannelMeanSums:
    """The means that one thread measured.

    Args:
        inputs: (value name, channel axis) of what is measured.
    """

    def __init__(self, inputs: Iterable[tuple[str, int]]) -> None:
        self._axes: dict[str, list[int]] = {}
        for name, axis in inputs:
            self._axes.setdefault(name, []).append(axis)
        self._waiting: dict[tuple[str, int], Tensor] = {}
        self._filled: dict[tuple[str, int], int] = {}
        self._sums: dict[tuple[str, int], ChannelMeans] = {}

    def add(self, name: str, tensor: Tensor) -> None:
        """Measure a value; its elements are finite."""
        for axis in self._axes.get(name, ()):
            key = (name, axis)
            held = self._waiting.get(key)
            if held is None:
                # One block of memory: small ones between large activations would keep these from
                # going back to the system.
                held = self._waiting[key] = torch.empty(_WAITING, tensor.shape[axis])
                self._filled[key] = 0
            # The mean of a line of float32 is the same for any number of threads: each run has one.
            others = _others(tensor.dim(), axis)
            measure = (
                torch.mean if tensor.numel() else torch.sum
            )  # the mean of nothing is no number
            measure(tensor, others, dtype=torch.float32, out=held[self._filled[key]])
            self._filled[key] += 1
            if self._filled[key] == _WAITING:
                self._sum(key)

    def _sum(self, key: tuple[str, int]) -> None:
        means = self._waiting[key][: self._filled[key]].numpy()
        found = ChannelMeans.of(means)
        self._sums[key] = found if key not in self._sums else self._sums[key].merged(found)
        self._filled[key] = 0

    def finish(self) -> Mapping[tuple[str, int], ChannelMeans]:
        """Return the sums over all samples."""
        for key, filled in self._filled.items():
            if filled:
                self._sum(key)
        return self._sums
