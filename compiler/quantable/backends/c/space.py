"""Loop nests: dimensions and strides, merged as far as they can be, as `q_space` initializers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from quantable.backends.c.text import braces
from quantable.ir import UnsupportedError

Q_RANK = 8
"""Loops that a `q_space` can hold."""


def contiguous(shape: Sequence[int]) -> list[int]:
    """Return the strides, in elements, of a tensor without gaps."""
    return [math.prod(shape[i + 1 :]) for i in range(len(shape))]


def broadcast_strides(shape: Sequence[int], onto: Sequence[int]) -> list[int]:
    """Return the strides of a tensor seen under a larger shape, 0 where it is repeated."""
    padded = [1] * (len(onto) - len(shape)) + list(shape)
    strides = contiguous(padded)
    return [
        0 if dim == 1 and full != 1 else stride
        for dim, full, stride in zip(padded, onto, strides, strict=True)
    ]


Loop = tuple[int, int, int]
"""Count, and the strides of both tensors."""


def merged(dims: Sequence[int], a: Sequence[int], b: Sequence[int]) -> list[Loop]:
    """Return the loops over dimensions, the last one innermost.

    Dimensions of 1 are dropped, and neighbours that both tensors walk as one are merged.
    """
    loops: list[Loop] = []
    for dim, sa, sb in zip(dims, a, b, strict=True):
        if dim == 1:
            continue
        if loops and loops[-1][1] == sa * dim and loops[-1][2] == sb * dim:
            loops[-1] = (loops[-1][0] * dim, sa, sb)
        else:
            loops.append((dim, sa, sb))
    return loops or [(1, 0, 0)]


def space(dims: Sequence[int], a: Sequence[int], b: Sequence[int] | None = None) -> str:
    """Return the initializer of a `q_space` (see `merged`).

    Raises:
        UnsupportedError: More loops are left than a `q_space` holds.
    """
    return initializer(merged(dims, a, b or [0] * len(dims)))


def initializer(loops: Sequence[Loop]) -> str:
    """Return loops as the initializer of a `q_space`.

    Raises:
        UnsupportedError: They are more than a `q_space` holds.
    """
    if len(loops) > Q_RANK:
        raise UnsupportedError(f"expected at most {Q_RANK} loops, found {len(loops)}")
    columns = [braces(loop[i] for loop in loops) for i in range(3)]
    return f"{{{len(loops)}, {', '.join(columns)}}}"
