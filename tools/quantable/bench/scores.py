"""How close a quantized network is to the float one, added up batch by batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]


@dataclass
class Score:
    """Sums over all samples so far.

    Attributes:
        count: Number of samples.
        agreeing: Samples whose largest output is the float network's.
        right: Samples whose largest output is the label.
        signal, noise: Energy of the float outputs and of the error, by output.
    """

    count: int = 0
    agreeing: int = 0
    right: int = 0
    signal: list[float] = field(default_factory=list)
    noise: list[float] = field(default_factory=list)

    def add(
        self, real: Sequence[Array], found: Sequence[Array], labels: Array | None = None
    ) -> None:
        """Add a batch.

        Args:
            real: Outputs of the float network, each [n, ...].
            found: Outputs of the quantized one.
            labels: Right output index of every sample.
        """
        self.signal = self.signal or [0.0] * len(real)
        self.noise = self.noise or [0.0] * len(real)
        for index, (a, b) in enumerate(zip(real, found, strict=True)):
            exact = a.astype(np.float64)
            self.signal[index] += float(np.square(exact).sum())
            self.noise[index] += float(np.square(exact - b.astype(np.float64)).sum())
        count = len(real[0])
        answers = found[0].reshape(count, -1).argmax(axis=1)
        self.count += count
        self.agreeing += int((answers == real[0].reshape(count, -1).argmax(axis=1)).sum())
        if labels is not None:
            self.right += int((answers == labels).sum())

    @property
    def agreement(self) -> float:
        """Percent of samples with the float network's answer."""
        return 100 * self.agreeing / self.count

    @property
    def top_1(self) -> float:
        """Percent of samples with the right answer."""
        return 100 * self.right / self.count

    @property
    def sqnr(self) -> list[float]:
        """Signal to quantization noise by output, in dB: 10 log10(signal / noise)."""
        return [
            10 * math.log10(signal / noise) if noise else math.inf
            for signal, noise in zip(self.signal, self.noise, strict=True)
        ]
