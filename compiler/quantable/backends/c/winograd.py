"""Which convolutions Winograd's minimal filtering saves products of, where that stays exact.

Kernels for it exist where no instruction sums up products of bytes without saturation
(`q_winograd_tiles.h`); others of the same set ignore the choice, and read the same constants.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from quantable.backends.c.gemm import Gemm


@dataclass(frozen=True, slots=True)
class _Form:
    """A way of filtering.

    Attributes:
        stride: How far windows move.
        edge: Of a tile of outputs.
        places: Products that a tile needs for each channel and output.
        bound: Magnitude below which sums of products come back whole.
    """

    stride: int
    edge: int
    places: int
    bound: int


_FORMS = {4: _Form(1, 4, 36, 2**25), 2: _Form(1, 2, 16, 2**29), 22: _Form(2, 2, 25, 2**31)}
"""By what kernels call it."""
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
        WINOGRAD, the form, and GROUP, the tiles that share a transform of the weights; both 0 where
        a direct product is as good.
    """
    names = [name for name, form in _FORMS.items() if _is_suited(gemm, form)]
    name = min([0, *names], key=lambda name: _cycles(gemm, _FORMS.get(name)))
    return {"WINOGRAD": name, "GROUP": _group(gemm, _FORMS[name]) if name else 0}


def _is_suited(gemm: Gemm, form: _Form) -> bool:
    """Whether it is a 3 x 3 window of whole vectors of channels, and no bytes lose bits."""
    channels = gemm.pixel // form.stride
    return (
        (gemm.rows, gemm.columns, gemm.run) == (3, 1, 3 * channels)
        and (gemm.line, gemm.pixel) == (form.stride * gemm.row, form.stride * channels)
        and gemm.outputs.lines > 1
        and channels % _CHANNELS == 0
        and gemm.weight.shape[0] >= _CHANNELS
        and _reach(gemm) < form.bound
        and _stack(gemm, form) <= _STACK
    )


def _reach(gemm: Gemm) -> int:
    """Return the largest magnitude that a sum of products of bytes can have."""
    weight = gemm.weight.reshape(gemm.weight.shape[0], -1)
    positive, negative = weight.clip(min=0).sum(axis=1), -weight.clip(max=0).sum(axis=1)
    return 255 * int(max(positive.max(initial=0), negative.max(initial=0)))


def _stack(gemm: Gemm, form: _Form) -> int:
    """Return about the bytes that transforms take."""
    channels, group = gemm.pixel // form.stride, _group(gemm, form)
    return form.places * (2 * channels * group + 32 * (min(channels, _SLICE) + _VECTORS * group))


def _tiles(gemm: Gemm, form: _Form) -> int:
    lines, pixels = gemm.outputs.lines, gemm.outputs.pixels
    return gemm.images * math.ceil(lines / form.edge) * math.ceil(pixels / form.edge)


def _group(gemm: Gemm, form: _Form) -> int:
    """Return how many tiles share a transform of the weights, as evenly as that can be."""
    tiles, size = _tiles(gemm, form), form.places * gemm.pixel // form.stride * 2
    most = min(max(_CACHE // size, _FEWEST), _MOST)
    return math.ceil(tiles / math.ceil(tiles / most))


def _cycles(gemm: Gemm, form: _Form | None) -> float:
    """Return about how many cycles it takes by a form, or directly."""
    inner, outer = gemm.run // 3, int(gemm.weight.shape[0])
    if form is None:
        pixels = gemm.images * gemm.outputs.lines * gemm.outputs.pixels
        return pixels * 9 * inner * outer / _DIRECT
    tiles, share = _tiles(gemm, form), form.places / 36
    products = tiles * form.places * inner * outer / _PRODUCTS
    weights = tiles / _group(gemm, form) * share * inner * outer * _WEIGHT
    return products + weights + tiles * share * (inner * _INPUT + outer * _OUTPUT)
