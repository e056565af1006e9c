"""What a family of networks is: how its model is written, its inputs, what is expected of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

Inputs = dict[str, npt.NDArray[np.generic]]
"""One sample: an array for every input of the network."""
Draw = Callable[[np.random.Generator], Inputs]


@dataclass(frozen=True, slots=True)
class Fixed:
    """How a family becomes code in C, whose shapes are fixed.

    Attributes:
        sample: Inputs of the fixed shapes; None for those of the family.
        canonicalize: The pipeline of the stage of that name.
        least_db: What the integers have to reach, as `Family.least_db`.
        refused: Words of the error, where the network cannot be compiled.
    """

    sample: Draw | None = None
    canonicalize: str = "bind-symbols,canonicalize"
    least_db: float = 25.0
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """A small network with the structure of a kind of networks, and seeded weights.

    Attributes:
        name: Of the family.
        summary: What is in it.
        forms: How the model can be written, by name: functions that write an ONNX file. Names say
            the exporter and the opset.
        sample: One set of inputs, drawn from a generator.
        least_db: Signal to quantization noise that a network quantized for `onnxruntime` has to
            reach at its worst float output, in dB, over all samples.
        judged: The outputs that are compared; all float ones where there are none.
        fixed: How it becomes C.
    """

    name: str
    summary: str
    forms: Mapping[str, Callable[[Path], None]]
    sample: Draw
    least_db: float
    judged: tuple[str, ...] = ()
    fixed: Fixed = field(default_factory=Fixed)


def draw(sample: Draw, count: int, seed: int) -> list[Inputs]:
    """Return samples; the same for the same seed."""
    generator = np.random.Generator(np.random.Philox(seed))
    return [sample(generator) for _ in range(count)]
