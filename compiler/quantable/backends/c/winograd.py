"""Which convolutions Winograd's minimal filtering saves products of, where that stays exact.

Kernels for it exist where no instruction sums up products of bytes without saturation
(`q_winograd_tiles.h`); others of the same set ignore the choice, and read the same constants.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from quantable.backends.c.gemm import Gemm

_BOUNDS = {4: 2**25, 2: 2**29}
"""Magnitude below which sums of products come back whole, by the edge of a tile of outputs."""
_CHANNELS = 16
"""Channels come in so many, and outputs are worth it from so many on."""
_SLICE = 64
"""Channels whose weights are transformed at a time, at most."""
_CACHE, _FEWEST, _MOST = 163840, 16, 32
"""Bytes that transformed tiles should take, and how many share a transform of the weights."""
_STACK = 2**19
"""Bytes of the stack that transforms may take; larger layers are computed directly."""
_VECTORS = 6
"""Vectors of 32 bytes that a tile has at each place at most, in a block of outputs."""
_DIRECT, _PRODUCTS = 20.0, 25.0
"""Products in a cycle: of bytes, directly, and of numbers of 16 bits."""
_INPUT, _WEIGHT, _OUTPUT = 9.0, 5.0, 20.0
"""Cycles of each transform to or from 36 places: for a channel, for one of an output, an output."""


def winograd_facts(gemm: Gemm) -> Mapping[str, int]:
    """Return the macros that tell kernels how to filter.

    Returns:
        WINOGRAD, the edge of a tile of outputs, 4 or 2, and GROUP, the tiles that share a transform
        of the weights; both 0 where a direct product is as good.
    """
    edges = [0, *(edge for edge in _BOUNDS if _is_exact(gemm, edge))] if _is_suited(gemm) else [0]
    edge = min(edges, key=lambda edge: _cycles(gemm, edge))
    return {"WINOGRAD": edge, "GROUP": _group(gemm, edge) if edge else 0}


def _is_suited(gemm: Gemm) -> bool:
    """Whether it is a 3 x 3 window that moves by one, of whole vectors of channels."""
    channels = gemm.pixel
    return (
        (gemm.rows, gemm.columns, gemm.run) == (3, 1, 3 * channels)
        and gemm.line == gemm.row
        and gemm.outputs.lines > 1
        and channels % _CHANNELS == 0
        and gemm.weight.shape[0] >= _CHANNELS
    )


def _is_exact(gemm: Gemm, edge: int) -> bool:
    """Whether no bytes make a sum that the transform loses bits of, nor fill the stack."""
    weight = gemm.weight.reshape(gemm.weight.shape[0], -1)
    positive, negative = weight.clip(min=0).sum(axis=1), -weight.clip(max=0).sum(axis=1)
    reach = 255 * int(max(positive.max(initial=0), negative.max(initial=0)))
    held = 2 * gemm.pixel * _group(gemm, edge) + 32 * min(gemm.pixel, _SLICE)
    held += 32 * _VECTORS * _group(gemm, edge)
    return reach < _BOUNDS[edge] and _places(edge) * held <= _STACK


def _places(edge: int) -> int:
    return (edge + 2) * (edge + 2)


def _tiles(gemm: Gemm, edge: int) -> int:
    lines, pixels = gemm.outputs.lines, gemm.outputs.pixels
    return gemm.images * math.ceil(lines / edge) * math.ceil(pixels / edge)


def _group(gemm: Gemm, edge: int) -> int:
    """Return how many tiles share a transform of the weights, as evenly as that can be."""
    tiles = _tiles(gemm, edge)
    most = min(max(_CACHE // (_places(edge) * gemm.pixel * 2), _FEWEST), _MOST)
    return math.ceil(tiles / math.ceil(tiles / most))


def _cycles(gemm: Gemm, edge: int) -> float:
    """Return about how many cycles it takes with tiles of an edge, or directly with 0."""
    inner, outer = gemm.pixel, int(gemm.weight.shape[0])
    if edge == 0:
        pixels = gemm.images * gemm.outputs.lines * gemm.outputs.pixels
        return pixels * 9 * inner * outer / _DIRECT
    tiles, share = _tiles(gemm, edge), _places(edge) / 36
    products = tiles * _places(edge) * inner * outer / _PRODUCTS
    weights = tiles / _group(gemm, edge) * share * inner * outer * _WEIGHT
    return products + weights + tiles * share * (inner * _INPUT + outer * _OUTPUT)
