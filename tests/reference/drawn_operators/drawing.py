"""What a strategy draws with, and what it returns: one node with its operands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from quantable.ir.standard_operations import known_operations

Array = npt.NDArray[Any]
SIZES = (2, 1, 3, 4, 5, 2, 3, 7, 0)
"""What a dimension is drawn from; the first is the simplest."""
OLDEST, NEWEST = 7, 22
"""Opsets that ONNX Runtime runs whole."""


@dataclass(frozen=True)
class Case:
    """A node with its operands.

    Attributes:
        kind: The operation, behind its domain.
        given: One array an input slot, None where it is absent.
        attributes: By name.
        outputs: How many outputs it has.
        opset: Of ai.onnx.
        tolerance: Relative to the largest magnitude of the result; 0 where results are equal.
        constants: Slots that have to be initializers.
        rank_of_ties: Outputs whose elements may change places where operands are equal.
    """

    kind: str
    given: Sequence[Array | None]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 1
    opset: int = 21
    tolerance: float = 0.0
    constants: frozenset[int] = frozenset()

    def __repr__(self) -> str:
        """Say what a person can read."""
        slots = [None if a is None else f"{a.dtype}{list(a.shape)}" for a in self.given]
        return f"{self.kind}-{self.opset}({slots}, {dict(self.attributes)}) -> {self.outputs}"


class Draw:
    """Draws numbers, shapes and arrays.

    Args:
        draw: Draws from a hypothesis strategy.
        kind: The operation that is drawn.
    """

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any], kind: str) -> None:
        self._draw = draw
        self.kind = kind
        self.random = np.random.default_rng(draw(st.integers(0, 2**20)))

    def pick(self, *options: Any) -> Any:
        """Choose one; the first is the simplest."""
        return self._draw(st.sampled_from(options))

    def flag(self) -> int:
        """Return 0 or 1."""
        return int(self.pick(0, 1))

    def opset(self, oldest: int = OLDEST, newest: int = NEWEST) -> int:
        """Choose an opset: where the operation changed, and some between."""
        versions = known_operations()[self.kind].versions
        found = {v for v in (*versions, 13, 18, 21) if max(oldest, versions[0]) <= v <= newest}
        found.add(max(oldest, versions[0]))
        return int(self.pick(*sorted(found, reverse=True)))

    def shape(self, least: int = 1, most: int = 4, sizes: Sequence[int] = SIZES) -> list[int]:
        """Choose a shape."""
        rank = self.pick(*range(least, most + 1))
        return [int(self.pick(*sizes)) for _ in range(rank)]

    def axis(self, rank: int) -> int:
        """Choose an axis, from the front or from the end."""
        return int(self.pick(*range(-rank, rank)))

    def axes(self, rank: int, least: int = 1) -> list[int]:
        """Choose some different axes, each from the front or from the end."""
        count = self.pick(*range(least, rank + 1)) if rank else 0
        chosen = self.random.permutation(rank)[:count]
        return [int(axis) - (rank if self.random.random() < 0.5 else 0) for axis in chosen]

    def floats(self, shape: Sequence[int], scale: float = 1.0) -> Array:
        """Return normal numbers; a few of them are round, so that ties and zeros occur."""
        x = self.random.normal(size=shape) * scale
        is_round = self.random.random(x.shape) < 0.1
        return np.asarray(np.where(is_round, np.round(x * 2) / 2, x), np.float32)

    def positive(self, shape: Sequence[int]) -> Array:
        """Return numbers from 0.1 to 2."""
        return np.asarray(self.random.uniform(0.1, 2, shape), np.float32)

    def integers(self, shape: Sequence[int], low: int, high: int, dtype: Any = np.int64) -> Array:
        """Return integers from a range, its end left out."""
        return np.asarray(self.random.integers(low, max(high, low + 1), shape), dtype)

    def numbers(self, shape: Sequence[int], dtype: Any) -> Array:
        """Return small numbers of a type."""
        if dtype is np.bool_:
            return np.asarray(self.random.random(shape) < 0.5)
        if np.issubdtype(dtype, np.integer):
            return self.integers(shape, 0 if np.issubdtype(dtype, np.unsignedinteger) else -9, 10,
                                 dtype)  # fmt: skip
        return self.floats(shape).astype(dtype)

    def beside(self, shape: Sequence[int]) -> list[int]:
        """Choose a shape that broadcasts with another one."""
        found = [size if self.random.random() < 0.7 else 1 for size in shape]
        return found[self.pick(*range(len(shape) + 1)) :]


Strategy = Callable[[Draw], Case]
