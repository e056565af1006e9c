"""Means of channels, one a sample, while a graph is observed."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from quantable.ir import ChannelMeans

_WAITING = 256
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
        self._waiting: dict[tuple[str, int], list[Tensor]] = {}
        self._sums: dict[tuple[str, int], ChannelMeans] = {}

    def add(self, name: str, tensor: Tensor) -> None:
        """Measure a value; its elements are finite."""
        for axis in self._axes.get(name, ()):
            key = (name, axis)
            held = self._waiting.get(key)
            if held is None:
                held = self._waiting[key] = []
            # The mean of a line of float32 is the same for any number of threads: each run has one.
            others = _others(tensor.dim(), axis)
            if tensor.dtype is not torch.float32:
                tensor = tensor.float()
            held.append(tensor.mean(others) if tensor.numel() else tensor.sum(others))
            if len(held) == _WAITING:
                self._sum(name, axis)

    def _sum(self, name: str, axis: int) -> None:
        means = torch.stack(self._waiting.pop((name, axis))).to(torch.float64).numpy()
        found, key = ChannelMeans.of(means), (name, axis)
        self._sums[key] = found if key not in self._sums else self._sums[key].merged(found)

    def finish(self) -> Mapping[tuple[str, int], ChannelMeans]:
        """Return the sums over all samples."""
        for name, axis in list(self._waiting):
            self._sum(name, axis)
        return self._sums
