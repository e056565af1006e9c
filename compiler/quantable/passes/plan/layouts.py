"""Permutations in which values are stored, and when changing one moves no data.

A value of logical shape L stored under the permutation p has the shape ``[L[a] for a in p]``:
stored axis i holds logical axis ``p[i]``.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from quantable.ir import Dim, Shape

Perm = tuple[int, ...]

_SYMBOL_BASE = 1_000_003
"""Symbols stand for large numbers that no product of real dimensions meets by chance."""


def identity(rank: int) -> Perm:
    """Return the permutation that changes nothing."""
    return tuple(range(rank))


def channels_last(rank: int) -> Perm:
    """Return the permutation [N, C, ..] -> [N, .., C]."""
    return (0, *range(2, rank), 1) if rank > 2 else identity(rank)


def inverse(perm: Perm) -> Perm:
    """Return the permutation that undoes one."""
    return tuple(perm.index(axis) for axis in range(len(perm)))


def stored_shape(shape: Shape, perm: Perm) -> Shape:
    """Return the shape under which a value is stored."""
    return tuple(shape[axis] for axis in perm)


def between(source: Perm, wanted: Perm) -> Perm:
    """Return the `perm` of the Transpose that brings one stored form to another."""
    return tuple(source.index(axis) for axis in wanted)


def suffix(perm: Perm) -> str:
    """Return what is appended to the name of a value stored under a permutation."""
    if perm == identity(len(perm)):
        return ""
    names = {3: ".nwc", 4: ".nhwc"}
    if perm == channels_last(len(perm)) and len(perm) in names:
        return names[len(perm)]
    return ".p" + "".join(str(axis) for axis in perm)


def moves_no_data(shape: Shape, source: Perm, wanted: Perm) -> bool:
    """Whether two stored forms hold the elements in the same order (unit axes change place)."""
    return [a for a in source if shape[a] != 1] == [a for a in wanted if shape[a] != 1]


def is_direct_reshape(source: Shape, p: Perm, result: Shape, q: Perm) -> bool:
    """Whether a Reshape from `source` stored under p to `result` stored under q moves no data.

    Both shapes are cut into the finest axes of which each dimension is a run (their common
    factors); the stored orders of these must agree.
    """
    numbers = _symbol_numbers([*source, *result])
    cuts = _cuts(source, numbers) | _cuts(result, numbers)
    atoms_in, atoms_out = _runs(source, numbers, cuts), _runs(result, numbers, cuts)
    if atoms_in is None or atoms_out is None:
        stays = moves_no_data(source, p, identity(len(source)))
        return stays and moves_no_data(result, q, identity(len(result)))
    order_in = [atom for axis in p for atom in atoms_in[axis]]
    order_out = [atom for axis in q for atom in atoms_out[axis]]
    return order_in == order_out


def _symbol_numbers(dims: Sequence[Dim]) -> dict[Dim, int]:
    symbols = [dim for dim in dict.fromkeys(dims) if isinstance(dim, str)]
    return {symbol: _SYMBOL_BASE + 2 * i for i, symbol in enumerate(symbols)}


def _cuts(shape: Shape, numbers: dict[Dim, int]) -> set[int]:
    """Return the products of all trailing dimensions: the strides of a contiguous tensor."""
    cuts, product = {1}, 1
    for dim in reversed(shape):
        product *= numbers.get(dim, 0) if isinstance(dim, str) else dim
        cuts.add(product)
    return cuts


def _runs(
    shape: Shape, numbers: dict[Dim, int], cuts: set[int]
) -> list[list[tuple[int, int]]] | None:
    """Return for every axis its atoms as (outer stride, inner stride), or None where none fit.

    Every stride must divide the next one, else the shapes have no common finest axes.
    """
    ordered = sorted(cuts)
    if any(b == 0 or b % a for a, b in itertools.pairwise(ordered)):
        return None
    runs: list[list[tuple[int, int]]] = []
    inner = 1
    for dim in reversed(shape):
        outer = inner * (numbers[dim] if isinstance(dim, str) else dim)
        inside = [cut for cut in ordered if inner <= cut <= outer]
        runs.append([(b, a) for a, b in itertools.pairwise(inside)][::-1])
        inner = outer
    return runs[::-1]


def reshape_target(source: Shape, result: Shape) -> list[int] | None:
    """Return a Reshape's target: 0 for a symbol that keeps its place, -1 for another one.

    None where more than one symbol moves, or where a kept dimension is empty.
    """
    target = []
    for axis, dim in enumerate(result):
        stays = axis < len(source) and source[axis] == dim
        target.append(dim if isinstance(dim, int) else 0 if stays else -1)
    is_empty = any(dim == 0 for dim in result)
    return None if target.count(-1) > 1 or is_empty else target
