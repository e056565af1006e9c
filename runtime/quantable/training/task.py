"""What is to be fitted, and what was found (see `quantable.passes.laboratory`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from quantable.ir import Graph

Array = npt.NDArray[np.generic]
Key = tuple[str, int]
"""(operation, input slot) of a parameter."""


class Task(Protocol):
    """What `quantable.passes.laboratory.FitTask` says; the runtime does not import the compiler."""

    @property
    def graph(self) -> Graph: ...
    @property
    def feeds(self) -> Mapping[str, Array]: ...
    @property
    def targets(self) -> Mapping[str, Array]: ...
    @property
    def samples(self) -> Sequence[int]: ...
    @property
    def weights(self) -> Mapping[Key, str]: ...
    @property
    def scales(self) -> frozenset[str]: ...
    @property
    def biases(self) -> frozenset[Key]: ...
    @property
    def begins_anew(self) -> bool: ...
    @property
    def originals(self) -> Mapping[str, Array]: ...
    @property
    def drop(self) -> float: ...
    @property
    def steps(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def weight_rate(self) -> float: ...
    @property
    def scale_rate(self) -> float: ...
    @property
    def bias_rate(self) -> float: ...
    @property
    def hardening(self) -> float: ...
    @property
    def seed(self) -> int: ...
    @property
    def stream(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Fit:
    """What was found; see `quantable.passes.laboratory.Fitted`."""

    contents: Mapping[str, Array] = field(default_factory=dict)
    scales: Mapping[str, Array] = field(default_factory=dict)
    losses: tuple[float, float] = (0.0, 0.0)
    failure: str = ""
