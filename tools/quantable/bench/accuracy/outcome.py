"""What is known of a quantized network, sample by sample, so that tools can be paired."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
Flags = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reference:
    """The float network on the evaluation set.

    Attributes:
        outputs: Each [samples, ...].
        labels: Right output index of every sample; None where there are none.
    """

    outputs: tuple[Array, ...]
    labels: npt.NDArray[np.int64] | None

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(self.outputs[0])

    @property
    def answers(self) -> npt.NDArray[np.int64]:
        """Index of the largest value of the first output, by sample."""
        return largest(self.outputs[0])

    @property
    def right(self) -> Flags | None:
        """Whether each answer is the label."""
        return None if self.labels is None else np.asarray(self.answers == self.labels)

    @property
    def signal(self) -> Float:
        """Energy, [outputs, samples]."""
        return np.stack([_energy(output.astype(np.float64)) for output in self.outputs])


@dataclass(frozen=True, eq=False)
class Outcome:
    """A quantized network beside the float one.

    Attributes:
        noise: Energy of the error, [outputs, samples].
        agreeing: Whether each answer is the float network's; None for no classifier.
        right: Whether each answer is the label; None where there are no labels.
    """

    noise: Float
    agreeing: Flags | None = None
    right: Flags | None = None

    @property
    def count(self) -> int:
        """Number of samples."""
        return int(self.noise.shape[1])

    def sqnr(self, signal: Float) -> list[float]:
        """Return the signal to quantization noise by output, in dB: 10 log10(signal / noise)."""
        return [
            _decibels(float(s.sum()), float(n.sum()))
            for s, n in zip(signal, self.noise, strict=True)
        ]

    def to_json(self) -> dict[str, Any]:
        """Return plain values; energies keep six digits, which is far below what is reported."""
        return {
            "noise": [[float(f"{value:.6g}") for value in row] for row in self.noise.tolist()],
            "agreeing": _text(self.agreeing),
            "right": _text(self.right),
        }

    @staticmethod
    def of_json(found: Mapping[str, Any]) -> Outcome:
        """Return what `to_json` wrote."""
        noise = np.array(found["noise"], np.float64)
        return Outcome(noise, _flags(found["agreeing"]), _flags(found["right"]))

    def rounded(self) -> Outcome:
        """Return the outcome as a file gives it back."""
        return Outcome.of_json(self.to_json())


def outcome(
    real: Reference, found: Sequence[Array], *, is_classifier: bool, start: int = 0
) -> Outcome:
    """Compare outputs of a quantized network with the float network's.

    Args:
        real: The float network's outputs.
        found: Each [n, ...], of the samples from `start` on.
        is_classifier: Whether the largest output is the answer.
        start: Index of the first sample.
    """
    count = len(found[0])
    part = slice(start, start + count)
    noise = [
        _energy(a[part].astype(np.float64) - b.astype(np.float64).reshape(a[part].shape))
        for a, b in zip(real.outputs, found, strict=True)
    ]
    answers = largest(found[0])
    return Outcome(
        np.stack(noise),
        answers == real.answers[part] if is_classifier else None,
        None if real.labels is None else np.asarray(answers == real.labels[part]),
    )


def joined(parts: Sequence[Outcome]) -> Outcome:
    """Return the outcome of all samples of outcomes of batches, in order."""
    whole = Outcome(np.concatenate([part.noise for part in parts], axis=1))
    flags = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("agreeing", "right")
        if getattr(parts[0], name) is not None
    }
    return replace(whole, **flags)


def percent(flags: Flags) -> float:
    """Return how many are set, in percent."""
    return 100 * int(np.count_nonzero(flags)) / len(flags)


def largest(output: Array) -> npt.NDArray[np.int64]:
    """Return the index of the largest value of each sample."""
    return np.asarray(output.reshape(len(output), -1).argmax(axis=1), np.int64)


def _energy(values: Float) -> Float:
    return np.asarray(np.square(values).reshape(len(values), -1).sum(axis=1))


def _decibels(signal: float, noise: float) -> float:
    if math.isnan(noise):
        return -math.inf
    return 10 * math.log10(signal / noise) if noise else math.inf


def _text(flags: Flags | None) -> str | None:
    return None if flags is None else "".join("01"[int(flag)] for flag in flags)


def _flags(text: str | None) -> Flags | None:
    return None if text is None else np.array([letter == "1" for letter in text], np.bool_)
