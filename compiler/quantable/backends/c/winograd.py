"""Which convolutions Winograd's minimal filtering saves cycles of, where that stays exact.

Kernels read the same constants either way (`q_winograd_tiles.h`). The choice is made twice: for
AVX2, and for vectors with an instruction that sums up products of bytes, beside which products of
16 bits take twice as long.
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


@dataclass(frozen=True, slots=True)
class _Vectors:
    """What filtering costs on processors with some vectors.

    Attributes:
        direct, products: Products in a cycle: of bytes, directly, and of numbers of 16 bits.
        inputs, weights, outputs: Cycles of each transform to or from 36 places: for a channel, for
            one of an output, for an output.
        lanes: Sums in a vector.
        cache: Bytes that transformed tiles should take.
    """

    direct: float
    products: float
    inputs: float
    weights: float
    outputs: float
    lanes: int
    cache: int


_VECTORS = {
    "": _Vectors(20.0, 25.0, 9.0, 5.0, 20.0, 8, 163840),
    "DOT_": _Vectors(115.0, 55.0, 3.5, 2.0, 8.0, 16, 327680),
}
"""AVX2, and what sums up four products of bytes with one instruction, by the macros' beginning:
about what profiles showed on Zen 3 and Zen 5."""
_CHANNELS = 16
"""Channels come in so many, and outputs are worth it from so many on."""
_SLICE = 64
"""Channels whose weights are transformed at a time, at most."""
_LEAST, _FEWEST, _MOST = 8, 16, 32
"""How many tiles share a transform of the weights: at least, although they fill the cache, at most;
where there are as many."""
_STACK = 2**19
"""Bytes of the stack that transforms may take; larger layers are computed directly."""
_SPARE = 192
"""Bytes from one place to the next that hold nothing, in all arrays together."""


def winograd_facts(gemm: Gemm, block: int) -> Mapping[str, int]:
    """Return the macros that tell kernels how to filter.

    Args:
        gemm: What is computed.
        block: Vectors of 16 outputs in a block.

    Returns:
        WINOGRAD, the form, and GROUP, the tiles that share a transform of the weights, with AVX2;
        DOT_WINOGRAD and DOT_GROUP where one instruction sums up products of four bytes; 0 where a
        direct product is as good.
    """
    facts = {}
    for prefix, vectors in _VECTORS.items():
        ways = {(0, 0): _direct_cycles(gemm, vectors)}
        for name, form in _FORMS.items():
            group = _group(gemm, form, vectors, block) if _is_suited(gemm, form) else 0
            if group:
                ways[name, group] = _cycles(gemm, form, vectors, group)
        facts[f"{prefix}WINOGRAD"], facts[f"{prefix}GROUP"] = min(ways, key=lambda way: ways[way])
    return facts


def _is_suited(gemm: Gemm, form: _Form) -> bool:
    """Whether it is a 3 x 3 window of whole vectors of channels, and no bytes lose bits."""
    channels = _channels(gemm, form)
    return (
        (gemm.rows, gemm.columns, gemm.run) == (3, 1, 3 * channels)
        and (gemm.line, gemm.pixel) == (form.stride * gemm.row, form.stride * channels)
        and gemm.outputs.lines > 1
        and channels > 0
        and channels % _CHANNELS == 0
        and gemm.weight.shape[0] >= _CHANNELS
        and _reach(gemm) < form.bound
    )


def _channels(gemm: Gemm, form: _Form) -> int:
    return gemm.pixel // form.stride


def _reach(gemm: Gemm) -> int:
    """Return the largest magnitude that a sum of products of bytes can have."""
    weight = gemm.weight.reshape(gemm.weight.shape[0], -1)
    positive, negative = weight.clip(min=0).sum(axis=1), -weight.clip(max=0).sum(axis=1)
    return 255 * int(max(positive.max(initial=0), negative.max(initial=0)))


def _tiles(gemm: Gemm, form: _Form) -> int:
    lines, pixels = gemm.outputs.lines, gemm.outputs.pixels
    return gemm.images * math.ceil(lines / form.edge) * math.ceil(pixels / form.edge)


def _group(gemm: Gemm, form: _Form, vectors: _Vectors, block: int) -> int:
    """Return how many tiles share a transform of the weights, as evenly as that can be; or 0."""
    tiles, channels = _tiles(gemm, form), _channels(gemm, form)
    wanted = vectors.cache // (2 * form.places * channels)
    most = min(max(wanted, _FEWEST), _MOST, _room(form, channels, vectors, block))
    return math.ceil(tiles / math.ceil(tiles / most)) if most >= _LEAST else 0


def _room(form: _Form, channels: int, vectors: _Vectors, block: int) -> int:
    """Return for how many tiles the stack has room, see the arrays of q_winograd_tiles.h."""
    held = block * (2 if vectors.lanes == 8 and block % 2 else 1)
    chunk = held if held % 2 else 2
    weights = 2 * chunk * vectors.lanes * min(channels, _SLICE) + _SPARE
    return (_STACK // form.places - weights) // (2 * channels + 4 * held * vectors.lanes)


def _direct_cycles(gemm: Gemm, vectors: _Vectors) -> float:
    """Return about how many cycles a product of bytes takes."""
    pixels = gemm.images * gemm.outputs.lines * gemm.outputs.pixels
    return pixels * float(gemm.weight.size) / vectors.direct


def _cycles(gemm: Gemm, form: _Form, vectors: _Vectors, group: int) -> float:
    """Return about how many cycles it takes by a form."""
    inner, outer = _channels(gemm, form), int(gemm.weight.shape[0])
    tiles, share = _tiles(gemm, form), form.places / 36
    products = tiles * form.places * inner * outer / vectors.products
    weights = math.ceil(tiles / group) * share * inner * outer * vectors.weights
    return products + weights + tiles * share * (inner * vectors.inputs + outer * vectors.outputs)
